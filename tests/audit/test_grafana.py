"""Grafana, where this host has one: closed to strangers, with the dashboards of this checkout."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from testinfra.host import Host

from tests.audit.expected import REPOSITORY
from tests.audit.probe import Probe

pytestmark = pytest.mark.group("monitor")
FOLDER = "/etc/cosyhost/grafana/dashboards"


@pytest.fixture(scope="session")
def grafana(host: Host, values: dict[str, Any]) -> Probe:
    """Grafana, where the inventory wants it."""
    if values["grafana_source"] == "none":
        pytest.skip("this host has no Grafana: grafana_source is none")
    address, _, port = str(values["grafana_listen"]).rpartition(":")
    return Probe(host, address, int(port))


@pytest.mark.control(
    "GRAFANA-CLOSED",
    "access",
    why="dashboards show who uses the service, and when",
    zh="仪表盘会显示谁在何时使用服务",
)
def test_grafana_asks_who_is_there(grafana: Probe) -> None:
    health, search = grafana.ask("/api/health"), grafana.ask("/api/search")
    assert health.status == 200, f"/api/health {health.brief}"
    assert search.status == 401, f"/api/search without a password {search.brief}"


@pytest.mark.control(
    "GRAFANA-LISTEN",
    "network",
    why="it has no TLS: passwords would cross the network open",
    zh="它没有 TLS，密码会在网络上明文传输",
)
def test_grafana_listens_at_its_address_only(
    grafana: Probe, host: Host, values: dict[str, Any]
) -> None:
    said = host.check_output(
        "pid=$(systemctl show --value --property=MainPID cosyhost-grafana); "
        'ss --no-header --listening --tcp --numeric --processes | grep -F "pid=$pid,"'
    )
    there = {line.split()[3] for line in said.splitlines()}
    assert there == {values["grafana_listen"]}, f"listens at {sorted(there)}"


@pytest.mark.control(
    "GRAFANA-FILES",
    "versions",
    why="an old dashboard asks for what is measured no longer",
    zh="旧仪表盘查询的是已不再采集的指标",
)
def test_the_dashboards_are_those_of_this_checkout(grafana: Probe, host: Host) -> None:
    wanted = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (REPOSITORY / "dashboards/json").glob("*.json")
    }
    said = host.check_output(f"cd {FOLDER} && sha256sum -- *").splitlines()
    found = {name: digest for digest, name in (line.split(maxsplit=1) for line in said)}
    wrong = sorted(name for name, _ in wanted.items() ^ found.items())
    assert not wrong, f"differ: {', '.join(sorted(set(wrong)))}; run site.yml"
