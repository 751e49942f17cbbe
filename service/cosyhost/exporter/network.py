"""Metrics of the links: what they carried, what they negotiated, what they are meant to."""

from __future__ import annotations

from collections.abc import Iterator

from cosyhost.exporter.exposition import Family, counter, gauge, labels
from cosyhost.host import network
from cosyhost.host_config import Network

# Prometheus' unit is the byte: 1 Mbit/s is 10^6 bits, 125000 bytes each second.
BYTES_PER_MBIT = 1_000_000 / 8

_WAYS = {"receive": "received", "transmit": "sent"}
_COUNTED = {"bytes": "Bytes", "packets": "Packets", "errs": "Errors while packets were"}
_COUNTED["drop"] = "Packets dropped that were to be"


def collect(settings: Network) -> Iterator[Family]:
    """The families of all interfaces."""
    found = [(labels(device=one.device), one) for one in network.interfaces()]
    for position, name in enumerate(network.Counters._fields):
        way, what = name.split("_")
        family = counter(f"cosyhost_network_{name}_total", f"{_COUNTED[what]} {_WAYS[way]}.")
        family.samples = [(device, one.counters[position]) for device, one in found]
        yield family

    changes = counter(
        "cosyhost_network_carrier_changes_total", "How often the link came up or went down."
    )
    up = gauge("cosyhost_network_up", "Whether the interface is switched on.")
    carrier = gauge("cosyhost_network_carrier", "Whether there is a link.")
    speed = gauge(
        "cosyhost_network_speed_bytes",
        "Bytes per second that the link negotiated; none for a link without a wire.",
    )
    nominal = gauge(
        "cosyhost_network_nominal_speed_bytes",
        "Bytes per second that the port is meant to negotiate.",
    )
    info = gauge("cosyhost_network_info", "The duplex that the link negotiated.")
    for device, one in found:
        link = one.link
        changes.add(device, link.carrier_changes)
        up.add(device, link.up)
        carrier.add(device, link.carrier)
        if link.speed_mbit is not None:
            speed.add(device, link.speed_mbit * BYTES_PER_MBIT)
        if settings.nominal_mbit and (link.wired or link.speed_mbit is not None):
            nominal.add(device, settings.nominal_mbit * BYTES_PER_MBIT)
        info.add(labels(device=one.device, duplex=link.duplex), 1)
    yield from (changes, up, carrier, speed, nominal, info)
    yield _uplink(settings)


def _uplink(settings: Network) -> Family:
    family = gauge(
        "cosyhost_network_uplink_capacity_bytes",
        "Bytes per second that the line behind the default route carries, from the inventory.",
    )
    ways = {"receive": settings.uplink_down_mbit, "transmit": settings.uplink_up_mbit}
    device = network.default_device() if any(ways.values()) else None
    if device is not None:
        for direction, mbit in ways.items():
            if mbit:
                family.add(labels(device=device, direction=direction), mbit * BYTES_PER_MBIT)
    return family
