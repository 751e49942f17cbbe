"""What is known about each host: what was asked for, where it is, how its boot goes."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from .errors import TestbedError, UsageError
from .files import entries, read_json, write_json
from .settings import FIRST_HOST, LAST_HOST, Settings

SUITES = ("bookworm", "trixie")
NAME = re.compile(r"[a-z][a-z0-9-]{0,11}")
LAYER = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")


@dataclass(frozen=True)
class HostSpec:
    """A host as asked for."""

    name: str
    suite: str = "bookworm"
    layer: str | None = None
    ip: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        check_suite(self.suite)
        if self.layer is not None:
            check_layer(self.layer)

    @classmethod
    def parse(cls, text: str) -> HostSpec:
        """Read `NAME[:SUITE[+LAYER][:IP]]`."""
        parts = text.split(":")
        if len(parts) > 3:
            raise UsageError(f"{text!r}: write NAME[:SUITE[+LAYER][:IP]]")
        name, system, ip = (*parts, "", "")[:3]
        suite, plus, layer = system.partition("+")
        if plus and not layer:
            raise UsageError(f"{text!r}: name a layer after '+'")
        return cls(name, suite or "bookworm", layer or None, ip or None)


@dataclass(frozen=True)
class HostRecord:
    """A host as made."""

    name: str
    ip: str
    suite: str
    layer: str | None
    image: str
    lower: list[str]  # folders of its layer, the topmost first


@dataclass(frozen=True)
class BootStatus:
    """How far the supervisor has come: `booting`, `ready`, or `ended`."""

    boot: int = 0
    state: str = "absent"
    returncode: int | None = None


def check_name(name: str) -> str:
    """Refuse a name that no host could have."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"bad host name {name!r}: use 1 to 12 characters, a-z, 0-9 and '-', a letter first"
        )
    return name


def check_suite(suite: str) -> str:
    """Refuse a suite no image is made of."""
    if suite not in SUITES:
        raise UsageError(f"unknown suite {suite!r}: use {' or '.join(SUITES)}")
    return suite


def check_layer(layer: str) -> str:
    """Refuse a layer name that is no plain file name."""
    if not LAYER.fullmatch(layer):
        raise UsageError(f"bad layer name {layer!r}: use up to 40 of a-z, 0-9, '-', '_' and '.'")
    return layer


def load(settings: Settings, name: str) -> HostRecord | None:
    """A host's record, if the host exists."""
    value = read_json(settings.host_dir(name) / "host.json")
    return HostRecord(**value) if isinstance(value, dict) else None


def load_all(settings: Settings) -> list[HostRecord]:
    """All hosts of this testbed, by name."""
    found = (load(settings, name) for name in entries(settings.hosts))
    return [record for record in found if record]


def store(settings: Settings, record: HostRecord) -> None:
    """Keep a host's record."""
    write_json(settings.host_dir(record.name) / "host.json", dataclasses.asdict(record))


def status(settings: Settings, name: str) -> BootStatus:
    """How a host's boot goes, as its supervisor last wrote it."""
    value = read_json(settings.host_dir(name) / "status.json")
    return BootStatus(**value) if isinstance(value, dict) else BootStatus()


def store_status(settings: Settings, name: str, value: BootStatus) -> None:
    """Keep how far the boot has come."""
    write_json(settings.host_dir(name) / "status.json", dataclasses.asdict(value))


def client_addresses(settings: Settings) -> dict[str, str]:
    """The addresses of client namespaces, by name."""
    found = {name: read_json(settings.clients / name) for name in entries(settings.clients)}
    return {name: str(value["ip"]) for name, value in found.items() if isinstance(value, dict)}


def store_client(settings: Settings, name: str, ip: str) -> None:
    """Keep a client's address."""
    write_json(settings.clients / name, {"ip": ip})


def remove_client(settings: Settings, name: str) -> None:
    """Forget a client."""
    (settings.clients / name).unlink(missing_ok=True)


def taken_addresses(settings: Settings) -> dict[str, str]:
    """Who has which address: address to name."""
    taken = {ip: name for name, ip in client_addresses(settings).items()}
    taken.update({record.ip: record.name for record in load_all(settings)})
    return taken


def choose_address(
    subnet: ipaddress.IPv4Network, taken: Iterable[str], wanted: str | None = None
) -> str:
    """The wanted address if it can be had, or the lowest free one."""
    used = set(taken)
    if wanted is None:
        for number in range(FIRST_HOST, LAST_HOST + 1):
            if str(subnet[number]) not in used:
                return str(subnet[number])
        raise TestbedError(f"no address left in {subnet}: take hosts down")
    try:
        address = ipaddress.IPv4Address(wanted)
    except ValueError:
        raise UsageError(f"{wanted!r} is no IPv4 address") from None
    if address not in subnet or address in (subnet[0], subnet[1], subnet[-1]):
        raise UsageError(f"{wanted}: use an address from {subnet[2]} to {subnet[-2]}")
    if wanted in used:
        raise UsageError(f"{wanted} is another host's: leave the address out, or take another")
    return wanted
