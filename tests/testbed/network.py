"""The hosts' wires: a bridge with NAT to the outside, a namespace and a link for each name."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from pathlib import Path

from .errors import UsageError
from .files import entries
from .settings import Settings
from .shell import call, quiet

INSIDE = "host0"  # what every host and client calls its own end
RATE = re.compile(r"(\d+(?:\.\d+)?)([kmg]?)bit")
FACTOR = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")


def ensure_bridge(settings: Settings) -> None:
    """Make the bridge and its firewall rules, if they are not there; call it under the lock."""
    bridge = settings.bridge
    if not quiet("ip", "link", "show", bridge):
        call("ip", "link", "add", bridge, "type", "bridge", "stp_state", "0", "forward_delay", "0")
    call("ip", "address", "replace", f"{settings.gateway}/24", "dev", bridge)
    call("ip", "link", "set", bridge, "up")
    if FORWARDING.read_text().strip() != "1":
        FORWARDING.write_text("1")
    comment = ("-m", "comment", "--comment", settings.tag)
    subnet = str(settings.subnet)
    masquerade = ("-s", subnet, "!", "-d", subnet, *comment, "-j", "MASQUERADE")
    _ensure_rule("nat", "POSTROUTING", masquerade)
    if "-P FORWARD DROP" in call("iptables", "-w", "-S", "FORWARD").stdout.splitlines():
        for side in ("-i", "-o"):
            _ensure_rule("filter", "FORWARD", (side, bridge, *comment, "-j", "ACCEPT"))


def remove_bridge(settings: Settings) -> None:
    """Remove the bridge, what hangs on it, and every rule that carries our mark."""
    for link in _links(settings):
        call("ip", "link", "delete", link, check=False)
    for table, chain in (("nat", "POSTROUTING"), ("filter", "FORWARD")):
        listed = call("iptables", "-w", "-t", table, "-S", chain, check=False).stdout
        for rule in listed.splitlines():
            words = rule.replace('"', "").split()
            if words[:1] == ["-A"] and settings.tag in words:
                call("iptables", "-w", "-t", table, "-D", *words[1:], check=False)


def attach(settings: Settings, name: str, ip: str) -> None:
    """Make a namespace and link it to the bridge.

    The address is set here, from outside, so that a host needs no network configuration.
    """
    detach(settings, name)
    netns, link = settings.netns(name), settings.link(name)
    call("ip", "netns", "add", netns)
    call(
        "ip", "link", "add", link, "master", settings.bridge,
        "type", "veth", "peer", "name", INSIDE, "netns", netns,
    )  # fmt: skip
    label(settings, name)
    configure(settings, netns, f"{ip}/{settings.subnet.prefixlen}")


def label(settings: Settings, name: str) -> None:
    """Give the bridge's end of a link a name people can read, and bring it up."""
    alias = f"{settings.tag} {name}"
    call("ip", "link", "set", settings.link(name), "alias", alias, "up")


def configure(settings: Settings, netns: str, address: str) -> None:
    """Bring up the inner end of a link, with a way out over the bridge."""
    orders = (
        "link set lo up",
        f"link set {INSIDE} address {hardware_address(address)}",
        f"address replace {address} dev {INSIDE}",
        f"link set {INSIDE} up",
        f"route replace default via {settings.gateway}",
    )
    call("ip", "-netns", netns, "-batch", "-", input="\n".join(orders) + "\n")


def without_ipv6(netns: str) -> None:
    """For a client's namespace, before its links come.

    An IPv6 address becomes usable a second or two after its link is up; a browser takes that for
    another network and breaks off what it is loading (ERR_NETWORK_CHANGED).
    """
    for scope in ("all", "default"):
        key = f"net.ipv6.conf.{scope}.disable_ipv6=1"
        call("ip", "netns", "exec", netns, "sysctl", "-q", "-e", "-w", key)


def use_cubic(netns: str) -> None:
    """Let TCP be as on users' machines (Windows, macOS, Linux); else it is as on this machine."""
    allowed = ALLOWED.read_text().split()
    if "cubic" not in allowed:  # a namespace may choose only among these
        ALLOWED.write_text(" ".join([*allowed, "cubic"]))
    command = ("sysctl", "-q", "-w", "net.ipv4.tcp_congestion_control=cubic")
    call("ip", "netns", "exec", netns, *command)


def hardware_address(address: str) -> str:
    """A MAC made from the IP: others' ARP caches stay true when a host takes its forerunner's IP.

    With a new MAC each time, the new host is out of reach for up to 40 s.
    """
    octets = address.partition("/")[0].split(".")
    return ":".join(["02", "00", *(f"{int(octet):02x}" for octet in octets)])


def cut_off(settings: Settings, name: str) -> None:
    """Leave a host no way beyond the bridge's subnet, until its link is made again."""
    call("ip", "-netns", settings.netns(name), "route", "delete", "default")


def detach(settings: Settings, name: str) -> None:
    """Remove a link and its namespace, if they exist."""
    if Path("/sys/class/net", settings.link(name)).exists():
        call("ip", "link", "delete", settings.link(name), check=False)
    if Path("/run/netns", settings.netns(name)).exists():
        call("ip", "netns", "delete", settings.netns(name), check=False)


def namespaces(settings: Settings) -> list[str]:
    """Names that have a namespace in this testbed, crash leftovers included."""
    prefix = settings.netns_prefix
    return [found.removeprefix(prefix) for found in entries(Path("/run/netns"))
            if found.startswith(prefix)]  # fmt: skip


def shape(settings: Settings, name: str, rate: str | None) -> None:
    """Limit a link in both directions with a token bucket, or lift the limit."""
    inside = ("-netns", settings.netns(name))
    ends = (((), settings.link(name)), (inside, INSIDE))
    burst = burst_bytes(rate) if rate else 0
    for where, device in ends:
        if rate is None:
            call("tc", *where, "qdisc", "delete", "dev", device, "root", check=False)
        else:
            call(
                "tc", *where, "qdisc", "replace", "dev", device, "root",
                "tbf", "rate", rate, "burst", str(burst), "latency", "100ms",
            )  # fmt: skip


def burst_bytes(rate: str) -> int:
    """A bucket of 10 ms, and never under 16 KiB: a smaller one cannot reach the rate."""
    match = RATE.fullmatch(rate)
    if not match or float(match[1]) == 0:
        raise UsageError(f"bad rate {rate!r}: write it like 5mbit, 800kbit or 1gbit, or 'off'")
    return max(16 * 1024, int(float(match[1]) * FACTOR[match[2]] / 8 / 100))


def _ensure_rule(table: str, chain: str, rule: tuple[str, ...]) -> None:
    base = ("iptables", "-w", "-t", table)
    if not quiet(*base, "-C", chain, *rule):
        # First in the chain: behind another's DROP it would have no effect.
        call(*base, "-I", chain, "1", *rule)


def _links(settings: Settings) -> list[str]:
    try:
        listed = json.loads(call("ip", "-json", "link", "show", check=False).stdout or "[]")
    except (ValueError, subprocess.SubprocessError):
        listed = []
    links = []
    for link in listed:
        with contextlib.suppress(KeyError):
            ours = link.get("ifalias", "").split(" ")[0] == settings.tag
            if ours or settings.bridge in (link.get("master"), link["ifname"]):
                links.append(link["ifname"])
    return links
