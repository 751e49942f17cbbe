"""The network interfaces: what they carried, and what their links negotiated.

Counters come from the kernel by way of psutil; the rest from sysfs, whose files refuse to be read
whenever they make no sense (ABI/testing/sysfs-class-net): each is read by itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, cast

import psutil

Duplex = Literal["full", "half", "unknown"]

SYSFS = "/sys/class/net"
# What drivers of links without a wire say until somebody sets another: tun and tap 10 Mbit/s
# (drivers/net/tun.c, tun_default_link_ksettings), veth and an empty bridge 10000.
_MADE_UP_MBIT = (10, 10000)
_RTF_UP, _RTF_REJECT = 0x1, 0x200  # linux/route.h


class Counters(NamedTuple):
    """What passed since the interface was made: bytes, packets, and those lost, both ways."""

    receive_bytes: int
    transmit_bytes: int
    receive_packets: int
    transmit_packets: int
    receive_errs: int
    transmit_errs: int
    receive_drop: int
    transmit_drop: int


@dataclass(frozen=True)
class Link:
    """A link's state. `speed_mbit` is None where there is no wire to negotiate on, or it is down.

    `wired` tells a device of the hardware (or of the hypervisor) from one that software made.
    """

    up: bool
    carrier: bool
    carrier_changes: int | None
    speed_mbit: int | None
    duplex: Duplex
    wired: bool


@dataclass(frozen=True)
class Interface:
    """One network interface at one moment."""

    device: str
    counters: Counters
    link: Link


def interfaces() -> list[Interface]:
    """All network interfaces, loopback too; one that vanishes meanwhile is left out."""
    found = ((device, moved, link(device)) for device, moved in counters().items())
    return [Interface(device, moved, state) for device, moved, state in found if state]


def counters() -> dict[str, Counters]:
    """The kernel's counters by device, as they are.

    psutil's default would go on counting from where a removed interface of that name had stopped
    (nowrap): a rate over both is the reader's business, who sees the reset.
    """
    return {
        device: Counters(
            moved.bytes_recv,
            moved.bytes_sent,
            moved.packets_recv,
            moved.packets_sent,
            moved.errin,
            moved.errout,
            moved.dropin,
            moved.dropout,
        )
        for device, moved in psutil.net_io_counters(pernic=True, nowrap=False).items()
    }


def link(device: str) -> Link | None:
    """The state of `device`'s link, or None if there is no such device (any more)."""
    folder = f"{SYSFS}/{device}"
    changes = _number(f"{folder}/carrier_changes")
    # The kernel answers EINVAL for the carrier of what is not up, and of a loopback's speed.
    carrier = _read(f"{folder}/carrier")
    if carrier is None and not os.path.lexists(folder):
        return None
    wired = os.path.lexists(f"{folder}/device")
    speed = _number(f"{folder}/speed") if carrier == "1" else None
    if speed is not None and (speed <= 0 or (not wired and _made_up(folder, speed))):
        speed = None
    duplex = _read(f"{folder}/duplex") if carrier == "1" else None
    return Link(
        up=carrier is not None,
        carrier=carrier == "1",
        carrier_changes=changes,
        speed_mbit=speed,
        duplex=cast(Duplex, duplex) if duplex in ("full", "half") else "unknown",
        wired=wired,
    )


def default_device(folder: Path = Path("/proc/net")) -> str | None:
    """The device of the default route: of IPv4, else of IPv6; None if there is none.

    Only the main table is looked at; of several routes the one of the smallest metric counts.
    """
    routes = [
        (int(metric), device)
        for device, to, _gateway, flags, _ref, _use, metric, mask, *_ in _rows(folder / "route")
        if to == mask == "00000000" and _serves(flags)
    ] or [
        (int(row[5], 16), row[9])
        for row in _rows(folder / "ipv6_route")
        if row[0] == "0" * 32 and row[1] == "00" and _serves(row[8]) and row[9] != "lo"
    ]
    return min(routes)[1] if routes else None


def _rows(path: Path) -> list[list[str]]:
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError:  # no IPv6 here
        return []
    return [row for row in rows if row and row[0] != "Iface"]


def _serves(flags: str) -> bool:
    return int(flags, 16) & (_RTF_UP | _RTF_REJECT) == _RTF_UP


def _made_up(folder: str, speed: int) -> bool:
    """Whether nobody negotiated or set this speed of a device without a wire.

    What lies on top of a wire (vlan, bond, bridge) has its speed from there.
    """
    if speed not in _MADE_UP_MBIT:
        return False
    return not any(os.path.lexists(below / "device") for below in Path(folder).glob("lower_*"))


def _number(path: str) -> int | None:
    text = _read(path)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def _read(path: str) -> str | None:
    """A small file of sysfs; None if it is not there or can't be read just now."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(file, 64).decode("ascii", "replace").strip()
    except OSError:
        return None
    finally:
        os.close(file)
