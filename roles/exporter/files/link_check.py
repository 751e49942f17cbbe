"""What a LAN's server must have, asked of the host before anything is installed on it.

Prints JSON: the default route's device, the speed and duplex that it negotiated, its IPv4 address,
whether that is lent by DHCP (`dynamic`), and with the argument `arp` who else answers ARP for it
(RFC 5227, 2.1.1: probes with no sender address, as a host sends them before it takes an address).
Needs root for the last.
Nothing but Python's own library: nothing is installed yet.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROBES, WAIT_S = 3, 0.5
ETH_ARP, HARDWARE, IPV4 = 0x0806, 1, 0x0800
REQUEST = 1
FRAME = "!6s6sH HHBBH 6s4s6s4s"


def default_device() -> str:
    """The device of the default route with the smallest metric; '' without one."""
    rows = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    routes = [(int(row[6]), row[0]) for row in rows if row[1] == row[7] == "00000000"]
    return min(routes)[1] if routes else ""


def sysfs(device: str, name: str) -> str:
    """One of the kernel's words about the device; '' where it has none."""
    try:
        return Path(f"/sys/class/net/{device}/{name}").read_text().strip()
    except OSError:
        return ""


def address_of(device: str) -> dict[str, Any]:
    """The device's first global IPv4 address as `ip` shows it."""
    said = subprocess.run(
        ["ip", "-json", "-4", "address", "show", "dev", device, "scope", "global"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found = [info for link in json.loads(said) for info in link.get("addr_info", [])]
    return found[0] if found else {}


def others_at(device: str, address: str) -> list[str]:
    """Hardware addresses of others that answer for `address`, or use it themselves."""
    own = bytes.fromhex(sysfs(device, "address").replace(":", ""))
    target, nobody = socket.inet_aton(address), bytes(4)
    probe = struct.pack(
        FRAME, b"\xff" * 6, own, ETH_ARP,
        HARDWARE, IPV4, 6, 4, REQUEST, own, nobody, bytes(6), target,
    )  # fmt: skip
    seen = set()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_ARP)) as wire:
        wire.bind((device, ETH_ARP))
        for _ in range(PROBES):
            wire.send(probe)
            until = time.monotonic() + WAIT_S
            while (left := until - time.monotonic()) > 0:
                wire.settimeout(left)
                try:
                    frame = wire.recv(2048)
                except TimeoutError:
                    break
                if len(frame) < struct.calcsize(FRAME):
                    continue
                fields = struct.unpack_from(FRAME, frame)
                sender_hardware, sender = fields[8], fields[9]
                if sender == target and sender_hardware != own:
                    seen.add(sender_hardware.hex(":"))
    return sorted(seen)


def main() -> None:
    """Print what was found."""
    device = default_device()
    found: dict[str, Any] = {"device": device, "address": "", "dynamic": False, "others": []}
    found |= {"speed_mbit": -1, "duplex": ""}
    if device:
        speed = sysfs(device, "speed")
        found["speed_mbit"] = int(speed) if speed.lstrip("-").isdigit() else -1
        found["duplex"] = sysfs(device, "duplex")
        address = address_of(device)
        found["address"] = address.get("local", "")
        found["dynamic"] = bool(address.get("dynamic"))
        if sys.argv[1:] == ["arp"] and found["address"] and sysfs(device, "type") == str(HARDWARE):
            found["others"] = others_at(device, found["address"])
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
