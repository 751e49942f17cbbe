"""Monitoring: whether what is told of a host is true, and what it tells of the wire."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest
from testinfra.host import Host

from tests.audit.test_edge import listeners

# A scrape between two looks at the kernel's counters, so that a busy link can be judged too.
SCRAPE = """
import json, sys, urllib.request
def kernel():
    with open("/proc/net/dev") as rows:
        found = (row.rpartition(":") for row in rows if ":" in row)
        return {device.strip(): figures.split() for device, _, figures in found}
before = kernel()
text = urllib.request.urlopen(sys.argv[1], timeout=10).read().decode()
print(json.dumps([text, before, kernel()]))
"""
SERIES = re.compile(r'^(cosyhost_network_\w+)\{device="([^"]*)"(?:,duplex="(\w+)")?\} (\S+)$', re.M)


@pytest.fixture(scope="session")
def scraped(host: Host, values: dict[str, Any]) -> list[Any]:
    """The exporter's text, with the kernel's counters before and after it."""
    if not values["exporter_enabled"]:
        pytest.skip("the exporter is off here")
    address = str(values["exporter_listen"])
    address = f"[{address}]" if ":" in address else address
    url = f"http://{address}:{values['exporter_port']}/metrics"
    said = host.run(f"python3 -c {shlex.quote(SCRAPE)} {url}")
    if said.rc:
        pytest.fail(f"{url} does not answer: {said.stderr.strip().splitlines()[-1]}")
    found: list[Any] = json.loads(said.stdout)
    return found


@pytest.mark.control(
    "MON-EXPORTER",
    "monitoring",
    why="a blind exporter shows a well host, whatever it has",
    zh="失明的采集器会把任何主机都显示为正常",
)
def test_the_exporter_tells_what_the_kernel_counts(scraped: list[Any]) -> None:
    text, before, after = scraped
    failed = re.findall(r'^cosyhost_exporter_collector_up\{collector="(\w+)"\} 0$', text, re.M)
    assert not failed, f"it has no metrics of: {', '.join(failed)}"
    told = {(name, device): float(value) for name, device, _, value in SERIES.findall(text)}
    wrong = []
    for device in set(before) & set(after):
        for way, place in (("receive", 0), ("transmit", 8)):
            value = told.get((f"cosyhost_network_{way}_bytes_total", device))
            low, high = int(before[device][place]), int(after[device][place])
            if value is None or not low <= value <= high:
                wrong.append(f"{device} {way}: {value} bytes, the kernel has {low} to {high}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.control(
    "MON-EXPORTER-BIND", "network", why="it asks nobody for a password", zh="它不向任何人要密码"
)
def test_the_exporter_listens_at_its_address_only(host: Host, values: dict[str, Any]) -> None:
    if not values["exporter_enabled"]:
        pytest.skip("the exporter is off here")
    port, wanted = int(values["exporter_port"]), {str(values["exporter_listen"])}
    there = {address for (address, at), _process in listeners(host) if at == port}
    assert there == wanted, f"listens at {sorted(there)}, should at {sorted(wanted)}"


@pytest.mark.control(
    "LINK-SPEED",
    "network",
    why="one broken pair makes a gigabit port a tenth of it",
    zh="一对坏线会让千兆口只剩十分之一",
)
def test_no_link_is_below_nominal_or_half_duplex(scraped: list[Any]) -> None:
    rows = SERIES.findall(scraped[0])
    told = {(name, device): float(value) for name, device, _, value in rows}
    wrong = []
    for name, device, duplex, _ in rows:
        if name != "cosyhost_network_info" or not told["cosyhost_network_carrier", device]:
            continue
        speed = told.get(("cosyhost_network_speed_bytes", device))
        nominal = told.get(("cosyhost_network_nominal_speed_bytes", device), 0)
        if speed is not None and speed < nominal:
            have, want = (round(each / 125_000) for each in (speed, nominal))
            wrong.append(f"{device} negotiated {have} Mbit/s, meant are {want}: cable or port")
        if duplex == "half":
            wrong.append(f"{device} is half duplex: one side is set by hand, the other negotiates")
    assert not wrong, "\n".join(wrong)
