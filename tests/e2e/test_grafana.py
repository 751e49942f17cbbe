"""The role grafana with a STAND-IN of tests/standin_grafana in Grafana's place: the role's steps.

Grafana itself was not run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.tier import ROOT, Run, Tier, changes, front_door, mark
from tests.standin_grafana import package

PASSWORD = "a-password-of-the-vault"
NEXT = "another-one-of-the-vault"
ETC = "/etc/cosyhost/grafana"
STATE = "/var/lib/private/cosyhost-grafana"
UIDS = sorted(path.stem for path in (ROOT / "dashboards/json").glob("*.json"))
Values = dict[str, str]


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Values:
    """What the inventory says, with the stand-in's package."""
    path = package.deb(tmp_path_factory.mktemp("standin"))
    return {
        "grafana_source": "package",
        "grafana_package": str(path),
        "grafana_package_sha256": package.sha256(path),
        "grafana_admin_password": PASSWORD,
    }


def play(tier: Tier, values: Values, *arguments: str) -> Run:
    """The role alone."""
    return tier.play("site", "--tags", "grafana", "-e", json.dumps(values), *arguments)


@pytest.fixture(scope="module")
def first(demo: Tier, values: Values) -> Run:
    """The first run, after a check run that changed nothing."""
    mark(demo.host)
    check = play(demo, values, "--check")
    assert check.rc == 0, check.tail
    # The rest of the host is at work, and writes.
    assert [path for path in changes(demo.host) if "grafana" in path] == []
    run = play(demo, values)
    assert run.rc == 0, run.tail
    return run


@pytest.fixture
def door(demo: Tier, first: Run) -> Iterator[str]:
    """Its address here, through SSH as the README says."""
    with front_door(demo.host, "127.0.0.1:3000") as url:
        yield url


def found(url: str, password: str) -> list[str] | int:
    """The dashboards that the admin sees, or the refusal's status."""
    answer = httpx.get(f"{url}/api/search", auth=("admin", password))
    if answer.status_code != 200:
        return answer.status_code
    return sorted(one["uid"] for one in answer.json())


def resets(tier: Tier) -> int:
    """How often its own tool has set the password."""
    return len(tier.host.run("cat", f"{STATE}/standin-resets").stdout.split())


def test_a_host_without_grafana_is_told_why(demo: Tier) -> None:
    said = demo.runs["fresh"].said
    assert said.count("grafana_source: none") == 1
    assert "Debian has no package of it" in said


def test_it_shows_the_dashboards_to_its_admin_only(door: str) -> None:
    assert found(door, PASSWORD) == UIDS
    assert found(door, "admin") == 401
    assert httpx.get(f"{door}/api/search").status_code == 401


def test_it_listens_on_loopback_only(demo: Tier, first: Run) -> None:
    listening = demo.host.run("ss", "-Hltn").stdout
    assert re.findall(r"(\S+):3000 ", listening) == ["127.0.0.1"]


def test_a_second_run_changes_nothing(demo: Tier, values: Values, first: Run) -> None:
    before = resets(demo)
    run = play(demo, values)
    assert run.rc == 0, run.tail
    assert run.recap(demo.host.name)["changed"] == 0, run.tail
    assert resets(demo) == before == 1


def test_a_new_password_is_set_once_and_said_nowhere_and_an_old_dashboard_goes(
    demo: Tier, values: Values, door: str
) -> None:
    old = '{"uid": "old", "title": "old"}'
    demo.host.run("sh", "-c", f"echo '{old}' >{ETC}/dashboards/old.json")
    assert found(door, PASSWORD) == sorted([*UIDS, "old"])
    run = play(demo, values | {"grafana_admin_password": NEXT}, "-vv")
    assert run.rc == 0, run.tail
    assert found(door, NEXT) == UIDS
    assert found(door, PASSWORD) == 401
    assert resets(demo) == 2
    journal = demo.host.run("journalctl", "--namespace=*", "--no-pager", "-o", "cat").stdout
    for secret in (PASSWORD, NEXT):
        assert secret not in journal
        assert secret not in run.output
    readable = demo.host.run("grep", "-rlE", f"{PASSWORD}|{NEXT}", "/etc", "/var/log").stdout
    assert set(readable.split()) == {
        "/etc/cosyhost/credentials/grafana_admin_password",
        "/etc/cosyhost/credentials/grafana_admin_password.set",
    }
    modes = demo.host.run("stat", "-c", "%a", *readable.split()).stdout
    assert set(modes.split()) == {"400"}


def test_its_unit_is_closed_in(demo: Tier, first: Run) -> None:
    said = demo.host.run("systemd-analyze", "security", "--no-pager", "cosyhost-grafana").stdout
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert level
    assert float(level[1]) <= 2.0


def test_the_audit_covers_it(demo: Tier, values: Values, first: Run, tmp_path: Path) -> None:
    inventory = tmp_path / "grafana.yml"
    inventory.write_text(json.dumps({"all": {"hosts": {demo.host.name: values}}}), "utf-8")
    with_it = Tier(demo.name, demo.host, [*demo.inventories, inventory], demo.control)
    audit = with_it.audit("-k", "test_grafana")
    assert audit.rc == 0, audit.tail
    assert len(re.findall(r"GRAFANA-\w+ .* ok", audit.output)) == 3, audit.tail
    demo.host.run("sh", "-c", f"echo '{{}}' >{ETC}/dashboards/cosyhost-gpu.json")
    spoilt = with_it.audit("-k", "test_grafana")
    assert spoilt.rc != 0
    assert "differ: cosyhost-gpu.json" in spoilt.output, spoilt.tail


WRONG: dict[str, tuple[Values, str]] = {
    "a package that is another": ({"grafana_package_sha256": "0" * 64}, "COSY-GRAFANA-CHECKSUM"),
    "a package that is not there": ({"grafana_package": "/no.deb"}, "COSY-GRAFANA-CHECKSUM"),
    "a package without its hash": ({"grafana_package_sha256": ""}, "COSY-GRAFANA-PACKAGE"),
    "a key nobody has pinned": ({"grafana_source": "apt"}, "COSY-GRAFANA-KEY"),
    "a password too short": ({"grafana_admin_password": "short"}, "COSY-GRAFANA-PASSWORD"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_values_are_refused_with_their_cure(demo: Tier, values: Values, what: str) -> None:
    wrong, code = WRONG[what]
    run = play(demo, values | wrong)
    assert run.rc != 0
    assert f"[{code}]" in run.said, run.tail
    assert re.search("[一-龥]", run.said)


def test_an_archive_takes_the_packages_place(
    demo: Tier, values: Values, door: str, tmp_path: Path
) -> None:
    path = package.tarball(tmp_path)
    archive = {"grafana_package": str(path), "grafana_package_sha256": package.sha256(path)}
    run = play(demo, values | archive)
    assert run.rc == 0, run.tail
    assert found(door, PASSWORD) == UIDS, "the vault's word again"
    started = demo.host.run("systemctl", "show", "cosyhost-grafana", "-p", "ExecStart").stdout
    assert f"/opt/cosyhost/grafana/{package.sha256(path)[:12]}/bin/grafana" in started
    again = play(demo, values | archive)
    assert again.recap(demo.host.name)["changed"] == 0, again.tail
