"""Monitoring: what is measured, which rules judge it, and whether anybody would be told."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

from tests.audit.expected import REPOSITORY
from tests.audit.probe import Probe

pytestmark = pytest.mark.group("monitor")
PORTS = {9100: "node", 9113: "nginx", 9121: "redis", 9115: "blackbox"}


@pytest.fixture(scope="session")
def prometheus(host: Host, values: dict[str, Any]) -> Probe:
    """Prometheus, where this host runs it."""
    if not values["prometheus_enabled"]:
        pytest.skip("this host watches nobody: prometheus_enabled is false")
    address, _, port = str(values["prometheus_listen"]).rpartition(":")
    return Probe(host, address, int(port))


def asked(prometheus: Probe, path: str) -> Any:
    """The data of one of Prometheus' answers."""
    answer = prometheus.ask(f"/api/v1/{path}")
    assert answer.status == 200, f"/api/v1/{path} {answer.brief}"
    return json.loads(answer.text)["data"]


def rule_names(groups: list[dict[str, Any]]) -> list[str]:
    """Every rule, as its file and as Prometheus name it."""
    return sorted(
        f"{group['name']}: {rule.get('alert') or rule.get('record') or rule['name']}"
        for group in groups
        for rule in group["rules"]
    )


@pytest.mark.control(
    "ALERT-TARGETS",
    "monitoring",
    why="what cannot be scraped is not watched",
    zh="抓取不到的目标就没有被监控",
)
def test_every_target_is_up(prometheus: Probe, values: dict[str, Any]) -> None:
    targets = asked(prometheus, "targets?state=active")["activeTargets"]
    wrong = [
        f"{target['labels']['job']} {target['labels']['instance']}: {target['health']}"
        f" {target['lastError']}"
        for target in targets
        if target["health"] != "up"
    ]
    assert not wrong, "\n".join(wrong)
    found = {(target["labels"]["job"], target["labels"]["instance"]) for target in targets}
    wanted = {(job, name) for job, all_ in values["prometheus_targets"].items() for name in all_}
    assert found == wanted, f"missing {sorted(wanted - found)}, too many {sorted(found - wanted)}"


@pytest.mark.control(
    "ALERT-RULES",
    "monitoring",
    why="a rule that was taken out goes on waking people up",
    zh="已删除的规则若仍在运行，还会半夜叫醒人",
)
def test_the_rules_are_those_of_the_files(prometheus: Probe, values: dict[str, Any]) -> None:
    given = Path(str(values["prometheus_rules"]))
    folder = given if given.is_dir() else REPOSITORY / "files/prometheus/rules"
    files = [yaml.safe_load(path.read_text("utf-8")) for path in sorted(folder.glob("*.yml"))]
    wanted = rule_names([group for file in files for group in file["groups"]])
    found = rule_names(asked(prometheus, "rules")["groups"])
    assert found == wanted, f"differ in {sorted(set(found) ^ set(wanted))}"


@pytest.mark.control(
    "ALERT-RULE-ERRORS",
    "monitoring",
    why="an alert that cannot be worked out cannot fire",
    zh="算不出来的告警不会触发",
)
def test_no_rule_ends_in_an_error(prometheus: Probe) -> None:
    wrong = [
        f"{rule['name']}: {rule.get('lastError')}"
        for group in asked(prometheus, "rules")["groups"]
        for rule in group["rules"]
        if rule["health"] == "err"
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.control(
    "ALERT-CONFIG",
    "monitoring",
    why="a refused configuration shows at the next start only",
    zh="被拒绝的配置要到下次启动才会暴露",
)
def test_the_configurations_were_taken(prometheus: Probe) -> None:
    for program in ("prometheus", "alertmanager"):
        series = asked(prometheus, f"query?query={program}_config_last_reload_successful")["result"]
        assert series, f"{program} does not say whether its configuration was taken"
        wrong = [one["metric"]["instance"] for one in series if one["value"][1] != "1"]
        assert not wrong, f"{program} on {', '.join(wrong)} goes on with an old configuration"


@pytest.mark.control(
    "ALERT-WAY",
    "monitoring",
    why="an alert that does not reach Alertmanager reaches nobody",
    zh="到不了 Alertmanager 的告警没有人会收到",
)
def test_alertmanager_hears_the_watchdog(
    prometheus: Probe, host: Host, values: dict[str, Any]
) -> None:
    address, _, port = str(values["alertmanager_listen"]).rpartition(":")
    for _ in range(30):  # one that was started anew hears of it within the minute
        answer = Probe(host, address, int(port)).ask("/api/v2/alerts?filter=alertname%3DWatchdog")
        assert answer.status == 200, f"Alertmanager {answer.brief}"
        if json.loads(answer.text):
            return
        time.sleep(3)
    pytest.fail("Alertmanager has no Watchdog: Prometheus does not reach it")


@pytest.mark.control(
    "ALERT-LISTEN",
    "network",
    why="none of these programs asks who is there",
    zh="这些程序都不验证来者是谁",
)
def test_monitoring_listens_at_its_addresses_only(
    prometheus: Probe, host: Host, values: dict[str, Any]
) -> None:
    wanted = {str(values["prometheus_listen"]), str(values["alertmanager_listen"])}
    wanted |= {
        f"{values['probes_listen']}:{port}"
        for port, name in PORTS.items()
        if values[f"probes_{name}_enabled"]
    }
    # Of our own processes, whatever they are called: the host may have others of the kind.
    said = host.check_output(
        "pids=$(systemctl show --value --property=MainPID cosyhost-prometheus "
        "cosyhost-alertmanager 'cosyhost-probe-*' | xargs | tr ' ' '|'); "
        'ss --no-header --listening --tcp --numeric --processes | grep -E "pid=($pids),"'
    )
    there = {line.split()[3] for line in said.splitlines()}
    assert there == wanted, f"listens at {sorted(there)}, should at {sorted(wanted)}"


@pytest.mark.control(
    "ALERT-SECRETS",
    "access",
    why="who has a receiver's address can write in its name",
    zh="拿到接收地址的人可以冒名发消息",
)
def test_receivers_are_not_readable_by_others(prometheus: Probe, host: Host) -> None:
    said = host.check_output("stat --format='%a %U %G' /etc/cosyhost/alertmanager/alertmanager.yml")
    assert said == "640 root prometheus", f"alertmanager.yml: {said}"
