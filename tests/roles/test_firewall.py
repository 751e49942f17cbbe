"""The firewall between two network namespaces, with nftables and sockets for real."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml

from tests.netns import Namespace, namespace, needs_root
from tests.roles.conftest import ROOT

pytestmark = needs_root
SSH = {"SSH_CONNECTION": "10.98.0.9 50000 10.98.0.1 2222"}
# Listens at each port of tcp and udp, at all addresses, and echoes what udp brings.
SERVER = """
import json, select, socket, sys
held = []
for port in json.loads(sys.argv[1]):
    held.append(socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True))
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    udp.bind(("::", port))
    held.append(udp)
print("up", flush=True)
while True:
    for one in select.select(held, [], [])[0]:
        if one.type == socket.SOCK_DGRAM:
            data, sender = one.recvfrom(9)
            one.sendto(data, sender)
        else:
            one.accept()[0].close()
"""
KNOCK = """
import socket
from concurrent.futures import ThreadPoolExecutor
def answers(asked):
    host, port, kind = asked
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, getattr(socket, kind)) as one:
        one.settimeout(1)
        try:
            one.connect((host, port))
            if kind == "SOCK_DGRAM":
                one.send(b"x")
                one.recv(9)
        except OSError:
            return False
    return True
with ThreadPoolExecutor(len(ASKED)) as pool:
    result = [one[1] for one, yes in zip(ASKED, pool.map(answers, ASKED)) if yes]
"""
# An echo request; IPv6's checksum is the kernel's. What comes back is the echo or a timeout.
PING = """
import socket
result = []
for family, proto, host, kind in (
    (socket.AF_INET, socket.IPPROTO_ICMP, FOUR, 8),
    (socket.AF_INET6, socket.IPPROTO_ICMPV6, SIX, 128),
):
    with socket.socket(family, socket.SOCK_RAW, proto) as one:
        one.settimeout(2)
        one.sendto(bytes([kind, 0, 0xF7, 0xFF, 0, 0, 0, 0]), (host, 0))
        result.append(len(one.recv(99)))
"""
OURS, TEAM, STRANGER = ("10.98.0.1", "fd98::1"), ("10.98.0.9", "fd98::9"), ("10.97.0.9", "fd97::9")


@pytest.fixture
def here() -> Iterator[Namespace]:
    """The host."""
    with namespace() as made:
        yield made


@pytest.fixture
def beside(here: Namespace) -> Iterator[Namespace]:
    """Another one at the end of a cable, with an address of the team's and one of a stranger's."""
    with namespace() as other:
        here.batch(f"link add lan0 type veth peer name lan0 netns {other.name}", "link set lan0 up")
        other.batch("link set lan0 up")
        for four, six in (OURS, ("10.97.0.1", "fd97::1")):
            here.batch(f"address add {four}/24 dev lan0", f"address add {six}/64 dev lan0 nodad")
        for four, six in (TEAM, STRANGER):
            other.batch(f"address add {four}/24 dev lan0", f"address add {six}/64 dev lan0 nodad")
        yield other


@contextmanager
def serving(here: Namespace, *ports: int) -> Iterator[None]:
    """A process of somebody's that listens to the network."""
    command = [*here.prefix, sys.executable, "-c", SERVER, json.dumps(ports)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"up\n"
        try:
            yield
        finally:
            server.kill()


def knock(there: Namespace, host: str, *ports: int, kind: str = "SOCK_STREAM") -> list[int]:
    """Which ports of the host answer."""
    asked = [(host, port, kind) for port in ports]
    found: list[int] = there.python(f"ASKED = {asked!r}\n{KNOCK}")
    return found


def look(
    here: Namespace, rules: Path, before: str = "true", **asked: object
) -> subprocess.CompletedProcess[str]:
    """Run the role's preflight in there, and render its rules."""
    play = shlex.join(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,",
         "-e", json.dumps({"rules": str(rules)} | asked), "tests/roles/firewall.yml"]
    )  # fmt: skip
    return subprocess.run(
        [*here.prefix, "sh", "-c", f"{before} && {play}"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        | SSH,
    )  # fmt: skip


def load(here: Namespace, rules: Path, firewall_open: object) -> None:
    """The role's rules are the kernel's."""
    run = look(here, rules, firewall_open=firewall_open)
    assert run.returncode == 0, run.stdout + run.stderr
    here.run("nft", "-f", str(rules))


def refusal(run: subprocess.CompletedProcess[str], code: str) -> str:
    assert run.returncode == 2, run.stdout + run.stderr
    assert f"[{code}]" in run.stdout, run.stdout
    assert run.stdout.count("FAILED!") == 1
    return " ".join(run.stdout.split())


def test_only_what_is_named_comes_in_from_where_it_may(
    here: Namespace, beside: Namespace, tmp_path: Path
) -> None:
    asked: dict[str, object] = {
        "80": ["10.98.0.0/24", "fd98::/64"], "443": ["all"], "5300/udp": ["10.98.0.9"], "7861": [],
    }  # fmt: skip
    ports = (80, 443, 2222, 5300, 6380, 7861)
    load(here, tmp_path / "rules", firewall_open=asked)
    with serving(here, *ports):
        for address in OURS:
            assert knock(beside, address, *ports) == [80, 443, 2222], address
        for address in ("10.97.0.1", "fd97::1"):
            assert knock(beside, address, *ports) == [443, 2222], address
        assert knock(beside, OURS[0], 5300, 80, kind="SOCK_DGRAM") == [5300]
        assert knock(beside, "10.97.0.1", 5300, kind="SOCK_DGRAM") == []
        assert knock(here, "127.0.0.1", *ports) == list(ports)
        assert knock(here, "::1", *ports) == list(ports)
    assert beside.python(f"FOUR, SIX = {OURS!r}\n{PING}") == [28, 8]
    with serving(beside, 9000):  # answers to what the host asks
        for address in (*TEAM, *STRANGER):
            assert knock(here, address, 9000) == [9000]


def test_others_tables_stay_and_the_rules_are_whole_or_not_at_all(
    here: Namespace, tmp_path: Path
) -> None:
    here.run("nft", "add table ip theirs; add chain ip theirs nat")
    load(here, tmp_path / "rules", firewall_open={"80": ["all"]})
    load(here, tmp_path / "rules", firewall_open={"443": ["all"]})
    live = here.run("nft", "list", "ruleset")
    assert "table ip theirs" in live
    assert live.count("hook input") == 1
    assert "dport 443 accept" in live
    assert "dport 80 accept" not in live
    broken = (tmp_path / "rules").read_text(encoding="utf-8").replace("counter", "bogus")
    (tmp_path / "rules").write_text(broken, encoding="utf-8")
    assert subprocess.run([*here.prefix, "nft", "-f", tmp_path / "rules"], check=False).returncode
    assert here.run("nft", "list", "ruleset") == live


def test_what_the_host_checks_and_what_it_goes_back_to(here: Namespace, tmp_path: Path) -> None:
    """The commands of the guard: does the kernel go by the rules, and back to those before."""
    proven, wanted = tmp_path / "proven", tmp_path / "wanted"
    said = yaml.safe_load((ROOT / "roles/firewall/vars/main.yml").read_text(encoding="utf-8"))

    def command(name: str) -> str:
        text: str = said[name]
        return text.replace("{{ __firewall_rules }}", str(proven)).replace(
            "{{ __firewall_wanted }}", str(wanted)
        )

    def holds() -> bool:
        check = [*here.prefix, "sh", "-c", command("__firewall_holds")]
        return subprocess.run(check, check=False).returncode == 0

    assert not holds()
    load(here, wanted, firewall_open={"80": ["all"]})
    assert holds()
    here.run("sh", "-c", command("__firewall_back"))  # the first rules ever: none before
    assert here.run("nft", "list", "ruleset") == ""
    assert not holds()
    load(here, proven, firewall_open={"80": ["all"]})
    load(here, wanted, firewall_open={"443": ["10.0.0.0/8"]})
    assert holds()
    here.run("nft", "add rule inet cosyhost input tcp dport 99 accept")
    assert not holds()
    here.run("sh", "-c", command("__firewall_back"))
    assert "dport 80 accept" in here.run("nft", "list", "ruleset")


FOREIGN = {
    "nft": ("nft 'add table inet filter; add chain inet filter in { type filter hook input "
            "priority 0; policy drop; }'", "nftables (table inet filter)"),
    "a last rule that refuses": (
        "nft 'add table ip old; add chain ip old in { type filter hook input priority 0; }; "
        "add rule ip old in tcp dport 22 accept; add rule ip old in counter reject'",
        "nftables (table ip old)",
    ),
    "firewalld": ("nft 'add table inet firewalld; add chain inet firewalld filter_INPUT { type "
                  "filter hook input priority 10; }; add rule inet firewalld filter_INPUT accept'",
                  "firewalld"),
    "iptables": ("iptables -P INPUT DROP", "nftables (table ip filter)"),
    "iptables-legacy": ("iptables-legacy -A INPUT -j REJECT", "iptables"),
    "ufw": ("mount -t tmpfs none /mnt && mkdir -p /mnt/up/ufw /mnt/work && echo ENABLED=yes "
            ">/mnt/up/ufw/ufw.conf && mount -t overlay overlay -o "
            "lowerdir=/etc,upperdir=/mnt/up,workdir=/mnt/work /etc", "ufw"),
}  # fmt: skip


@pytest.mark.parametrize("which", FOREIGN)
def test_another_firewall_is_named_and_left_alone(
    here: Namespace, tmp_path: Path, which: str
) -> None:
    before, named = FOREIGN[which]
    said = refusal(
        look(here, tmp_path / "rules", before, firewall_open={"80": ["all"]}),
        "COSY-FIREWALL-FOREIGN",
    )
    assert f"has a firewall already: {named}." in said
    assert "firewall_enabled: false" in said
    assert "cosyhost" not in here.run("nft", "list", "ruleset")


def test_what_only_bans_or_forwards_is_no_other_firewall(here: Namespace, tmp_path: Path) -> None:
    """As fail2ban and Docker do."""
    before = (
        "nft 'add table inet f2b; add chain inet f2b in { type filter hook input priority -1; }; "
        "add rule inet f2b in ip saddr 203.0.113.9 reject' && iptables -P FORWARD DROP"
    )
    run = look(here, tmp_path / "rules", before, firewall_open={"80": ["all"]})
    assert run.returncode == 0, run.stdout + run.stderr


def test_nobody_else_is_cut_off(here: Namespace, beside: Namespace, tmp_path: Path) -> None:
    """A site of somebody else's on the host: it is named, or closed knowingly."""
    with ExitStack() as stack:
        stack.enter_context(serving(here, 80, 8080))
        rules = tmp_path / "rules"
        said = refusal(look(here, rules, firewall_open={"80": ["all"]}), "COSY-FIREWALL-CLOSES")
        closes = re.findall(r"listen at on localhost: ([^(]*) \(", said)[0]
        assert sorted(closes.split(", ")) == ["80/udp", "8080", "8080/udp"]
        known = {"80": ["all"], "80/udp": [], "8080": ["all"], "8080/udp": []}
        load(here, rules, firewall_open=known)
        assert knock(beside, OURS[0], 80, 8080) == [80, 8080]
        # Once the rules are there nobody is asked again.
        assert look(here, rules, firewall_open={"80": ["all"]}).returncode == 0


@pytest.mark.parametrize(
    "wrong",
    [{"https": ["all"]}, {"70000": ["all"]}, {"80": ["10.0.0.0/8; drop"]}],
)
def test_values_that_nftables_would_not_take_are_refused(
    here: Namespace, tmp_path: Path, wrong: dict[str, list[str]]
) -> None:
    said = refusal(look(here, tmp_path / "rules", firewall_open=wrong), "COSY-FIREWALL-VALUES")
    assert json.dumps(next(iter(wrong)))[1:-1] in said
