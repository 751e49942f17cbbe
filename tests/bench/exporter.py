"""What a scrape of our exporter costs, beside Debian's node exporter in the same network.

A network namespace with 2 interfaces, then one with 200: the same client scrapes each exporter over
one connection, as Prometheus does. CPU seconds are the process's own (proc(5), stat), memory its
resident set. `counter_mismatch` counts series that differ from the kernel's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.debs import program
from tests.netns import STILL, Namespace, namespace

PORT = 7861
CONFIG = f"""
[server]
listen = "127.0.0.1"
port = {PORT}
[network]
nominal_mbit = 1000
uplink_up_mbit = 50
uplink_down_mbit = 50
[outputs]
folder = "%s"
quota_bytes = 5000000000
[service]
url = ""
[gpus]
expected = 0
[retention]
record = "/nowhere/last.json"
[backup]
record = "/nowhere/backup.json"
"""
SCRAPE = f"""
import http.client, time
connection = http.client.HTTPConnection("127.0.0.1", {PORT}, timeout=30)
took = []
for _ in range(%d):
    began = time.perf_counter()
    connection.request("GET", "/metrics")
    connection.getresponse().read()
    took.append(time.perf_counter() - began)
took.sort()
result = took[len(took) // 2]
"""
# Something for the counters to count, on the first link.
TRAFFIC = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    for _ in range(2000):
        out.sendto(bytes(1200), ("10.9.7.2", 9))
result = None
"""
HZ = os.sysconf("SC_CLK_TCK")
# As in the unit.
ENVIRONMENT = os.environ | {"MALLOC_ARENA_MAX": "1"}


@dataclass(frozen=True)
class Cost:
    """What one exporter took for its scrapes."""

    cpu_s_per_1000: float
    rss_mb: float
    p50_ms: float
    counter_mismatch: int | None


def measured(here: Namespace, command: list[str], scrapes: int, ours: bool = False) -> Cost:
    """Start an exporter in `here`, let it settle, scrape it; ours is held against the kernel."""
    with subprocess.Popen(
        [*here.prefix, *command], stderr=subprocess.DEVNULL, env=ENVIRONMENT
    ) as process:
        try:
            deadline = time.monotonic() + 30
            while f":{PORT} " not in here.run("ss", "-Hltn"):
                assert process.poll() is None, f"{command} ended"
                assert time.monotonic() < deadline, f"{command} does not listen"
                time.sleep(0.1)
            here.python(SCRAPE % 20)
            before = _cpu_s(process.pid)
            p50_s = here.python(SCRAPE % scrapes)
            cpu_s = _cpu_s(process.pid) - before
            rss_mb = _rss_mb(process.pid)
            wrong = mismatches(here) if ours else None
            return Cost(cpu_s * 1000 / scrapes, rss_mb, p50_s * 1000, wrong)
        finally:
            process.terminate()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / HZ


def _rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise AssertionError("no VmRSS")


@contextmanager
def network(interfaces: int) -> Iterator[Namespace]:
    """A namespace with so many interfaces, loopback counted: all up, traffic on one."""
    with namespace() as here, namespace() as other:
        pairs = (interfaces - 2) // 2
        here.batch(
            f"link add eth0 type veth peer name eth0 netns {other.name}",
            "address add 10.9.7.1/24 dev eth0",
            "link set eth0 up",
            *(f"link add a{n} type veth peer name b{n}" for n in range(pairs)),
            *(f"link set {side}{n} up" for n in range(pairs) for side in "ab"),
        )
        other.batch("address add 10.9.7.2/24 dev eth0", "link set eth0 up")
        here.batch("route add default via 10.9.7.2")
        here.python(TRAFFIC)
        yield here


def mismatches(here: Namespace) -> int:
    """Counters of the links that are not the kernel's; loopback's move with each scrape."""
    text, kernel = here.python(STILL % PORT)
    told = {
        (sample.name, sample.labels["device"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "device" in sample.labels
    }
    wrong = 0
    for row in kernel:
        device, _, figures = row.strip().rpartition(":")
        numbers = [float(figure) for figure in figures.split()]
        for way, there in (("receive", 0), ("transmit", 8)):
            for place, what in enumerate(("bytes", "packets", "errs", "drop")):
                name = f"cosyhost_network_{way}_{what}_total"
                wrong += told.get((name, device)) != numbers[there + place]
    return wrong


def compared(interfaces: int, scrapes: int) -> dict[str, float | None]:
    """The figures of one network."""
    node = str(program("prometheus-node-exporter", "prometheus-node-exporter"))
    listen = f"--web.listen-address=127.0.0.1:{PORT}"
    links_only = ["--collector.disable-defaults", "--collector.netdev", "--collector.netclass"]
    with tempfile.TemporaryDirectory() as folder, network(interfaces) as here:
        config = Path(folder) / "exporter.toml"
        config.write_text(CONFIG % folder, encoding="utf-8")
        ours = measured(
            here,
            [sys.executable, "-m", "cosyhost.cli", "--config", str(config), "exporter"],
            scrapes,
            ours=True,
        )
        links = measured(here, [node, listen, *links_only], scrapes)
        whole = measured(here, [node, listen], max(scrapes // 5, 20))
    rows = (("cosyhost", ours), ("node, links only", links), ("node, defaults", whole))
    for name, cost in rows:
        print(
            f"{interfaces:>4} interfaces  {name:<17} {cost.cpu_s_per_1000:7.2f} CPU s / 1000"
            f"  {cost.rss_mb:5.1f} MB  p50 {cost.p50_ms:6.2f} ms",
            flush=True,
        )
    return {
        "cpu_s_per_1000": round(ours.cpu_s_per_1000, 3),
        "rss_mb": round(ours.rss_mb, 1),
        "vs_node_exporter_cpu": round(ours.cpu_s_per_1000 / links.cpu_s_per_1000, 3),
        "counter_mismatch": ours.counter_mismatch,
    }


def main() -> None:
    """Measure; one JSON line last."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--scrapes", type=int, default=1000, help="at 2 interfaces (1000)")
    options.add_argument("--scrapes-200", type=int, default=200, help="at 200 interfaces (200)")
    chosen = options.parse_args()
    figures = compared(2, chosen.scrapes)
    many = compared(200, chosen.scrapes_200)
    print(json.dumps(figures | {f"{name}_200": figure for name, figure in many.items()}))


if __name__ == "__main__":
    main()
