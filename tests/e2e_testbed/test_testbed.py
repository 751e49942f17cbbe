"""The testbed holds what it promises. Boots real hosts in a testbed of its own: needs root."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed import CommandError, Host, HostSpec, Settings, Testbed, TestbedError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the testbed needs root")
REPOSITORY = Path(__file__).resolve().parents[2]
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def testbed() -> Iterator[Testbed]:
    env = {**os.environ, "COSYHOST_TESTBED": "selftest"}
    env.pop("COSYHOST_TESTBED_SUBNET", None)
    testbed = Testbed(Settings.from_env(env))
    testbed.clean()
    yield testbed
    testbed.clean()


@pytest.fixture(scope="module")
def pair(testbed: Testbed) -> tuple[Host, Host]:
    """Two hosts, one of each suite, for tests that leave them running."""
    old, new = testbed.up_many([HostSpec("old", "bookworm"), HostSpec("new", "trixie")])
    return old, new


def seconds_to_fetch(url: str, host: Host) -> float:
    started = time.monotonic()
    host.run("curl", "-sSf", "-o", "/dev/null", url, timeout=60)
    return time.monotonic() - started


@pytest.fixture
def megabyte_url(pair: tuple[Host, Host]) -> str:
    old, _ = pair
    old.run("sh", "-c", f"mkdir -p /srv/www && head -c {MEGABYTE} /dev/zero >/srv/www/megabyte")
    old.run("systemctl", "reset-failed", "www", check=False)
    old.run("sh", "-c", "systemctl is-active -q www || systemd-run -q --unit=www "
            "-p WorkingDirectory=/srv/www python3 -m http.server 8000")  # fmt: skip
    url = f"http://{old.ip}:8000/megabyte"
    old.run("curl", "-sSf", "-o", "/dev/null", "--retry", "20", "--retry-connrefused",
            "--retry-delay", "1", url)  # fmt: skip
    return url


def test_two_hosts_come_up_whole_and_see_each_other(pair: tuple[Host, Host]) -> None:
    for host, other in (pair, pair[::-1]):
        assert host.run("systemctl", "is-system-running").stdout.strip() == "running"
        assert host.run("hostname").stdout.strip() == host.name
        greeting = f"exec 3<>/dev/tcp/{other.ip}/22; head -c 4 <&3"
        assert host.run("bash", "-c", greeting, timeout=10).stdout == "SSH-"
    assert "trixie" in pair[1].run("cat", "/etc/os-release").stdout


def test_a_command_that_fails_or_hangs_says_so_and_leaves_nothing(pair: tuple[Host, Host]) -> None:
    host, _ = pair
    with pytest.raises(CommandError, match="No such file") as caught:
        host.run("ls", "/missing")
    assert caught.value.returncode == 2
    with pytest.raises(TestbedError, match="took longer than"):
        host.run("sh", "-c", "sleep 1234.5 & sleep 1234.5", timeout=0.5)
    assert "1234.5" not in host.run("ps", "-eo", "args").stdout


def test_ssh_logs_in_as_root_and_as_a_sudoer(pair: tuple[Host, Host]) -> None:
    for host in pair:
        command = host.ssh_command("id", "-un")
        assert subprocess.check_output(command, text=True, timeout=10).strip() == "root"
        command = [word.replace("root@", "ops@") for word in host.ssh_command("sudo", "id", "-un")]
        assert subprocess.check_output(command, text=True, timeout=10).strip() == "root"


def test_a_memory_limit_inside_a_host_is_enforced(pair: tuple[Host, Host]) -> None:
    eat = "systemd-run -q --wait -p MemoryMax={} python3 -c 'bytearray(200 * 2**20)'"
    for host in pair:
        host.run("sh", "-c", eat.format("1G"))
        assert host.run("sh", "-c", eat.format("50M"), check=False).returncode != 0


def test_a_reboot_keeps_files_and_limits(pair: tuple[Host, Host]) -> None:
    _, host = pair
    host.put("kept", "/srv/marker/file", mode=0o600)
    before = host.run("cat", "/proc/sys/kernel/random/boot_id", "/proc/1/stat").stdout
    host.reboot()
    assert host.run("cat", "/proc/sys/kernel/random/boot_id", "/proc/1/stat").stdout != before
    assert host.run("cat", "/srv/marker/file").stdout == "kept"
    assert host.run("stat", "-c", "%a", "/srv/marker/file").stdout.strip() == "600"
    assert host.run("systemctl", "is-system-running").stdout.strip() == "running"
    test_a_memory_limit_inside_a_host_is_enforced((host, host))


def test_a_shaped_link_is_slower_by_far(pair: tuple[Host, Host], megabyte_url: str) -> None:
    _, host = pair
    free_s = seconds_to_fetch(megabyte_url, host)
    host.shape("4mbit")
    shaped_s = seconds_to_fetch(megabyte_url, host)
    host.shape(None)
    assert shaped_s > 1
    assert shaped_s > 3 * free_s
    assert seconds_to_fetch(megabyte_url, host) < shaped_s / 2


def test_a_thin_line_has_its_rate_delay_and_speed(testbed: Testbed, megabyte_url: str) -> None:
    with testbed.wan_client(
        "home", down_mbit=8, up_mbit=2, delay_ms=50, reported_speed_mbit=100
    ) as client:
        assert client.run("cat", "/sys/class/net/host0/speed").stdout.strip() == "100"
        timing = "%{time_connect} %{time_total}"
        done = client.run("curl", "-sSf", "-o", "/dev/null", "-w", timing, megabyte_url)
        connect_s, total_s = map(float, done.stdout.split())
        assert 0.1 <= connect_s < 0.5
        assert 1 < total_s < 5
    assert not Path("/run/netns", client.netns).exists()


def test_a_client_reaches_hosts_until_it_is_taken_down(testbed: Testbed, megabyte_url: str) -> None:
    client = testbed.client("phone", str(testbed.settings.subnet[200]))
    client.run("curl", "-sSf", "-o", "/dev/null", megabyte_url, timeout=10)
    client.down()
    assert not Path("/run/netns", client.netns).exists()


def test_power_cut_then_power_on_or_a_new_host(testbed: Testbed) -> None:
    host = testbed.up("cut", suite="trixie")
    host.put("kept", "/srv/marker")
    host.kill()
    assert not host.running
    assert host.state == "off"
    host.power_on()
    assert host.run("cat", "/srv/marker").stdout == "kept"
    host.kill()
    again = testbed.up("cut", suite="trixie")
    assert again.run("test", "-e", "/srv/marker", check=False).returncode == 1
    again.down()


def test_a_layer_keeps_a_host_for_new_ones(testbed: Testbed) -> None:
    assert not testbed.has_layer("marked", "bookworm")
    first = testbed.up("first")
    first.run("sh", "-c", "echo one >/srv/one; rm /etc/debian_version")
    first.snap("marked")
    second = testbed.up("second", layer="marked")
    second.run("sh", "-c", "test -e /srv/one && ! test -e /etc/debian_version && echo 2 >/srv/two")
    second.snap("marked")
    third = testbed.up("third", layer="marked")
    third.run("sh", "-c", "test -e /srv/one && test -e /srv/two && ! test -e /etc/debian_version")
    third.down()
    assert testbed.has_layer("marked", "bookworm")
    assert not testbed.has_layer("marked", "trixie")


def test_two_processes_bring_up_hosts_at_once(testbed: Testbed) -> None:
    script = "import sys; from tests.testbed import Testbed; print(Testbed().up(sys.argv[1]).ip)"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, name], text=True, stdout=subprocess.PIPE,
            env=testbed.settings.environment(),
        )
        for name in ("left", "right")
    ]  # fmt: skip
    addresses = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(set(addresses)) == 2
    assert testbed.down(["left", "right"]) == ["left", "right"]


def test_rules_let_hosts_through_a_firewall_that_forwards_nothing() -> None:
    script = """
from tests.testbed import Settings, network
from tests.testbed.shell import call
settings = Settings.from_env({"COSYHOST_TESTBED": "selftest"})
call("iptables", "-P", "FORWARD", "DROP")
for _ in range(2):
    network.ensure_bridge(settings)
rules = call("iptables", "-S", "FORWARD").stdout + call("iptables", "-t", "nat", "-S").stdout
assert rules.count(settings.tag) == 3, rules
network.remove_bridge(settings)
rules = call("iptables", "-S", "FORWARD").stdout + call("iptables", "-t", "nat", "-S").stdout
assert settings.tag not in rules, rules
"""
    # In a network namespace of its own: this machine's firewall is not ours to change.
    command = ["unshare", "--net", sys.executable, "-c", script]
    subprocess.run(command, check=True, cwd=REPOSITORY, timeout=30)


def test_clean_leaves_nothing(testbed: Testbed, pair: tuple[Host, Host]) -> None:
    settings = testbed.settings
    assert pair[0].running
    testbed.client("left-over")
    testbed.clean()
    seen = {
        "mounts": Path("/proc/self/mountinfo").read_text(),
        "links": subprocess.check_output(["ip", "-details", "link"], text=True),
        "netns": subprocess.check_output(["ip", "netns"], text=True),
        "rules": subprocess.check_output(["iptables-save"], text=True),
        "groups": "\n".join(map(str, Path("/sys/fs/cgroup").glob(f"**/{settings.tag}"))),
        "processes": subprocess.check_output(["ps", "-eo", "args"], text=True),
    }
    marks = (settings.tag, settings.bridge, settings.netns_prefix, str(settings.own))
    assert {what: [mark for mark in marks if mark in text] for what, text in seen.items()} == {
        what: [] for what in seen
    }
    assert not settings.own.exists()
    testbed.clean()
