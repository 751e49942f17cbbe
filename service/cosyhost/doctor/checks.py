"""From readings to findings: pure, so that every judgement can be tried without its fault."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cosyhost.doctor import findings as signs
from cosyhost.doctor.findings import Finding, Sign
from cosyhost.host.gpu import Gpus
from cosyhost.host.network import Counters, Interface
from cosyhost.host.storage import Contents, Filesystem

# A wired port of these days does a gigabit; one that says less negotiated it with a bad cable.
_USUAL_MBIT = 1000
_MANY_FLAPS = 10
# Below so many packets a ratio says nothing.
_ENOUGH_PACKETS = 1000
_MANY_LOST = 0.01
# The alerts' bounds (files/prometheus/rules/network.yml).
_FULL = 0.9
_UPLOAD_SHARE = 0.2
_FREE_LOW, _FREE_NONE, _FREE_NONE_BYTES = 0.10, 0.03, 1_000_000_000
_INODES_LOW = 0.05
_MEMORY_FULL = 0.95


def rates_bps(before: Counters, after: Counters, seconds: float) -> tuple[float, float]:
    """Bits per second received and sent: bytes moved times 8 by the seconds between the readings.

    An interface made anew meanwhile counts from zero: then nothing is known, and 0 is said.
    """
    received = after.receive_bytes - before.receive_bytes
    sent = after.transmit_bytes - before.transmit_bytes
    if received < 0 or sent < 0 or seconds <= 0:
        return 0.0, 0.0
    return received * 8 / seconds, sent * 8 / seconds


def link(
    before: list[Interface],
    after: list[Interface],
    seconds: float,
    *,
    default_device: str | None,
    nominal_mbit: float,
    up_mbit: float,
    down_mbit: float,
) -> Iterator[Finding]:
    """The links; the figures in Mbit/s are the inventory's for the default route's, 0 unknown."""
    if default_device is None:
        yield _found("link", signs.LINK_NO_ROUTE)
    if up_mbit and down_mbit and up_mbit < _UPLOAD_SHARE * down_mbit:
        yield _found("link", signs.LINK_ASYMMETRIC, up_mbit=up_mbit, down_mbit=down_mbit)
    earlier = {interface.device: interface for interface in before}
    for interface in after:
        device, state = interface.device, interface.link
        ours = device == default_device
        if not (ours or state.wired):
            continue
        if not state.carrier:
            if ours:
                yield _found("link", signs.LINK_NO_CARRIER, device=device)
            continue
        yield from _negotiated(interface, nominal_mbit if ours else 0)
        yield from _lost(interface)
        if ours and device in earlier:
            counted = earlier[device].counters
            yield from _full(interface, counted, seconds, up_mbit, down_mbit)


def _negotiated(interface: Interface, nominal_mbit: float) -> Iterator[Finding]:
    device, state = interface.device, interface.link
    nominal = nominal_mbit or (_USUAL_MBIT if state.wired else 0)
    if state.speed_mbit is not None and state.speed_mbit < nominal:
        yield _found(
            "link",
            signs.LINK_BELOW_NOMINAL,
            device=device,
            speed_mbit=state.speed_mbit,
            nominal_mbit=round(nominal),
        )
    if state.duplex == "half":
        yield _found("link", signs.LINK_HALF_DUPLEX, device=device)
    if state.carrier_changes is not None and state.carrier_changes > _MANY_FLAPS:
        yield _found("link", signs.LINK_FLAPS, device=device, changes=state.carrier_changes)


def _lost(interface: Interface) -> Iterator[Finding]:
    moved = interface.counters
    packets = moved.receive_packets + moved.transmit_packets
    lost = moved.receive_errs + moved.transmit_errs + moved.receive_drop + moved.transmit_drop
    if packets >= _ENOUGH_PACKETS and lost / packets > _MANY_LOST:
        yield _found(
            "link",
            signs.LINK_ERRORS,
            device=interface.device,
            percent=100 * lost / packets,
            since="自启动以来",
            since_en="since boot",
        )


def _full(
    interface: Interface, before: Counters, seconds: float, up_mbit: float, down_mbit: float
) -> Iterator[Finding]:
    received, sent = rates_bps(before, interface.counters, seconds)
    wire_mbit = float(interface.link.speed_mbit or 0)
    for bps, line_mbit, way, way_en in (
        (sent, up_mbit, "上行", "upwards"),
        (received, down_mbit, "下行", "downwards"),
    ):
        known = [mbit for mbit in (line_mbit, wire_mbit) if mbit]
        if known and bps / 1e6 > _FULL * min(known):
            yield _found(
                "link",
                signs.LINK_SATURATED,
                device=interface.device,
                way=way,
                way_en=way_en,
                now_mbit=round(bps / 1e6, 1),
                capacity_mbit=min(known),
            )


def disk(path: str, room: Filesystem | None) -> Iterator[Finding]:
    """A file system's room."""
    if room is None:
        yield _found("disk", signs.PATH_MISSING, path=path)
        return
    share = room.free_bytes / room.size_bytes if room.size_bytes else 0.0
    figures = {"path": path, "free_gb": round(room.free_bytes / 1e9, 1), "percent": 100 * share}
    if share < _FREE_NONE or room.free_bytes < _FREE_NONE_BYTES:
        yield _found("disk", signs.DISK_FULL, **figures)
    elif share < _FREE_LOW:
        yield _found("disk", signs.DISK_LOW, **figures)
    if room.inodes and room.inodes_free is not None:
        left = room.inodes_free / room.inodes
        if left < _INODES_LOW:
            yield _found("disk", signs.DISK_INODES, path=path, percent=100 * left)


def outputs(held: Contents | None, quota_bytes: int) -> Iterator[Finding]:
    """What the outputs hold beside their quota; 0 is no quota."""
    if held is not None and quota_bytes and held.bytes > quota_bytes:
        yield _found(
            "disk",
            signs.OUTPUTS_OVER_QUOTA,
            used_gb=round(held.bytes / 1e9, 1),
            quota_gb=quota_bytes / 1e9,
        )


def gpus(seen: Gpus, expected: int) -> Iterator[Finding]:
    """The GPUs, beside how many the inventory says there are."""
    if len(seen.gpus) < expected:
        reason = seen.reason or "the others do not answer"
        yield _found(
            "gpu", signs.GPU_MISSING, expected=expected, found=len(seen.gpus), reason=reason
        )
    for gpu in seen.gpus:
        if gpu.memory_used_bytes and gpu.memory_total_bytes:
            used = gpu.memory_used_bytes / gpu.memory_total_bytes
            if used > _MEMORY_FULL:
                yield _found("gpu", signs.GPU_MEMORY, gpu=gpu.index, percent=100 * used)
        events = gpu.clock_events or {}
        if events.get("hw_thermal") or events.get("sw_thermal"):
            yield _found(
                "gpu", signs.GPU_HOT, gpu=gpu.index, celsius=gpu.temperature_celsius or "?"
            )
        if gpu.ecc_uncorrected:
            yield _found("gpu", signs.GPU_ECC, gpu=gpu.index, errors=gpu.ecc_uncorrected)


def units(states: dict[str, str]) -> Iterator[Finding]:
    """Our units by what systemd says of them (ActiveState/SubState); those that should run."""
    for unit, state in states.items():
        if state not in ("active/running", "active/waiting", "activating/start"):
            yield _found("service", signs.UNIT_DOWN, unit=unit, state=state)


def ready(reason: str | None) -> Iterator[Finding]:
    """What /readyz said; None when all is well."""
    if reason is not None:
        yield _found("service", signs.NOT_READY, reason=reason)


def _found(area: str, sign: Sign, **figures: Any) -> Finding:
    return Finding(area, sign, figures)
