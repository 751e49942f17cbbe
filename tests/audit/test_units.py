"""Processes: enabled, running, as the right user, in their sandbox."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from testinfra.host import Host

from tests.audit.expected import Expected

PROPERTIES = (
    "Id", "ActiveState", "SubState", "UnitFileState", "NRestarts", "MainPID",
    "ActiveEnterTimestampMonotonic", "ProtectSystem", "NoNewPrivileges", "CapabilityBoundingSet",
)  # fmt: skip
# A user that is there while its unit runs; hosts without nss-systemd show its number only.
DYNAMIC, DYNAMIC_UIDS = "a user of its own", range(61184, 65520)
USERS = {
    "nginx": {"root", "www-data"},
    "redis": {"redis"},
    "cosyhost": {"cosyhost"},
    "cosyhost-exporter": {DYNAMIC},
}
LOOP_RESTARTS, LOOP_WITHIN_S = 3, 300


@pytest.fixture(scope="session")
def units(host: Host, expected: Expected, host_name: str, values: dict[str, Any]) -> dict[str, Any]:
    """The units that belong on this host, with what systemd says of them."""
    groups = {name for name, hosts in expected.groups.items() if host_name in hosts}
    names = ["nginx.service"] if "edge" in groups else []
    if values["service_web_enabled"]:
        names.append("cosyhost-web.service")
    if values["service_worker_enabled"]:
        names += [f"cosyhost-worker@{gpu}.service" for gpu in values["service_worker_gpus"]]
    if values["exporter_enabled"]:
        names.append("cosyhost-exporter.service")
    if "queue" in groups:
        names.append("redis-server@cosyhost.service")
    said = host.check_output(
        f"systemctl show --property={','.join(PROPERTIES)} {shlex.join(names)}"
    )
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines()) for block in said.split("\n\n")
    ]
    return {block["Id"]: block for block in blocks}


@pytest.mark.control(
    "UNIT-ACTIVE",
    "service",
    why="a part that is not running serves nobody",
    zh="没有运行的部件不服务任何人",
)
def test_every_unit_is_running(units: dict[str, Any]) -> None:
    wrong = {
        name: f"{unit['ActiveState']} ({unit['SubState']})"
        for name, unit in units.items()
        if (unit["ActiveState"], unit["SubState"]) != ("active", "running")
    }
    assert not wrong, _listed(wrong)


@pytest.mark.control(
    "UNIT-ENABLED",
    "service",
    why="what is not enabled is gone after the next boot",
    zh="未设为自启的部件在下次开机后就消失",
)
def test_every_unit_is_enabled(units: dict[str, Any]) -> None:
    wrong = {n: u["UnitFileState"] for n, u in units.items() if u["UnitFileState"] != "enabled"}
    assert not wrong, _listed(wrong)


@pytest.mark.control(
    "UNIT-TIMERS",
    "service",
    why="what waits for the clock or a file is missed only when it was needed",
    zh="等待时钟或文件的部件，只有在需要时才会发现它不在",
)
def test_timers_and_paths_are_enabled_and_wait(host: Host, values: dict[str, Any]) -> None:
    names = ["retention.timer", "retention.path"] if values["retention_enabled"] else []
    here = values["service_web_enabled"] and values["service_worker_enabled"]
    if here and values["service_restart_button"] != "nobody":
        names.append("restart.path")
    if not names:
        pytest.skip("nothing waits on this host")
    wrong = {}
    for name in (f"cosyhost-{name}" for name in names):
        said = host.run("systemctl is-enabled %s; systemctl is-active %s", name, name).stdout
        if said.split() != ["enabled", "active"]:
            wrong[name] = " and ".join(said.split())
    assert not wrong, _listed(wrong)


@pytest.mark.control(
    "UNIT-USER",
    "access",
    why="a break-in gets no further than its process's user",
    zh="入侵者最多得到该进程用户的权限",
)
def test_every_process_has_its_own_user(host: Host, units: dict[str, Any]) -> None:
    wrong = {}
    for name in units:
        said = host.run(
            "cat /sys/fs/cgroup/$(systemctl show --value --property=ControlGroup %s)/cgroup.procs "
            "/sys/fs/cgroup/systemd/$(systemctl show --value --property=ControlGroup %s)"
            "/cgroup.procs /sys/fs/cgroup/unified/$(systemctl show --value "
            "--property=ControlGroup %s)/cgroup.procs 2>/dev/null "
            "| sort -u | xargs -r -n1 ps -o user:32= -p", name, name, name,
        )  # fmt: skip
        stem = name.partition(".")[0]
        allowed = USERS.get(stem) or USERS[stem.partition("-")[0]]
        seen = {
            DYNAMIC if user == stem or (user.isdigit() and int(user) in DYNAMIC_UIDS) else user
            for user in said.stdout.split()
        }
        if not seen or not seen <= allowed:
            wrong[name] = f"runs as {sorted(seen)}, should run as {sorted(allowed)}"
    assert not wrong, _listed(wrong)


@pytest.mark.control(
    "UNIT-LOOP",
    "service",
    why="a process that comes up and dies again looks alive",
    zh="反复启动又退出的进程看起来像是正常的",
)
def test_no_unit_restarts_in_a_loop(host: Host, units: dict[str, Any]) -> None:
    uptime_s = float(host.check_output("cut -d' ' -f1 /proc/uptime"))
    wrong = {}
    for name, unit in units.items():
        restarts = int(unit["NRestarts"])
        age_s = uptime_s - int(unit["ActiveEnterTimestampMonotonic"]) / 1e6
        if restarts >= LOOP_RESTARTS and age_s < LOOP_WITHIN_S:
            wrong[name] = f"restarted {restarts} times, the last time {age_s:.0f} s ago"
    assert not wrong, _listed(wrong)


@pytest.mark.control(
    "UNIT-SANDBOX",
    "access",
    why="uploads of strangers are decoded in these processes",
    zh="陌生人的上传在这些进程里解码",
)
def test_the_service_runs_in_its_sandbox(units: dict[str, Any]) -> None:
    want = {"ProtectSystem": "strict", "NoNewPrivileges": "yes", "CapabilityBoundingSet": ""}
    wrong = {
        f"{name} {key}": unit[key] or "(none)"
        for name, unit in units.items()
        if name.startswith("cosyhost-")
        for key, value in want.items()
        if unit[key] != value
    }
    assert not wrong, _listed(wrong)


@pytest.mark.control(
    "UNIT-FAILED",
    "service",
    why="a failed unit is a fault that nobody has looked at",
    zh="失败的单元是没有人看过的故障",
)
def test_no_unit_of_the_host_has_failed(host: Host) -> None:
    failed = host.check_output("systemctl list-units --failed --plain --no-legend")
    assert not failed, failed


@pytest.mark.control(
    "HOST-DOCTOR",
    "service",
    why="what the host itself knows to be wrong is found first",
    zh="主机自己知道的问题应最先发现",
)
def test_the_doctor_finds_no_fault(host: Host, values: dict[str, Any]) -> None:
    if not values["exporter_enabled"]:
        pytest.skip("the doctor comes with the exporter, which is off here")
    said = host.run("/usr/local/bin/cosyhost doctor --json --seconds 1")
    assert said.rc in (0, 2, 3), said.stderr
    faults = [one for one in json.loads(said.stdout)["findings"] if one["severity"] == "fault"]
    assert not faults, "\n".join(f"{one['code']}: {one['message']}" for one in faults)


def _listed(wrong: dict[str, str]) -> str:
    return "\n".join(f"{name}: {what}" for name, what in wrong.items())
