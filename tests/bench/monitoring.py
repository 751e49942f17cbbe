"""What watching costs on a single host: memory and processor time of all its processes together.

Tier lan, as provisioned: Prometheus, Alertmanager, our exporter and Debian's, scrapes every 15 s
(our exporter's every 5). Grafana is not among them. `make bench BENCH=monitoring`.
"""

from __future__ import annotations

import argparse
import json
import time

from tests.bench._lan import SUITE, lan_host
from tests.e2e.tier import Tier

SETTLE_S, MEASURE_S = 120, 300
UNITS = (
    "cosyhost-prometheus", "cosyhost-alertmanager", "cosyhost-exporter",
    "cosyhost-probe-node", "cosyhost-probe-nginx", "cosyhost-probe-redis",
    "cosyhost-probe-blackbox",
)  # fmt: skip
LOOK = """
import json, pathlib, subprocess, sys
found = {}
for unit in sys.argv[1:]:
    said = subprocess.run(["systemctl", "show", "-P", "MainPID", unit], capture_output=True)
    pid = int(said.stdout)
    if not pid:
        continue
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    rss_kb = int(status.partition("VmRSS:")[2].split()[0])
    times = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    found[unit] = [rss_kb * 1024 / 1e6, (int(times[11]) + int(times[12])) / 100]
print(json.dumps(found))
"""


def look(tier: Tier) -> dict[str, tuple[float, float]]:
    """By unit: MB of resident memory, and seconds of processor time since its start."""
    said = tier.host.run("python3", "-c", LOOK, *UNITS).stdout
    return {unit: (rss, cpu) for unit, (rss, cpu) in json.loads(said).items()}


def main() -> None:
    """Let it settle, measure, print a line per process, and one JSON line last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keep", action="store_true", help="leave the host running")
    parser.add_argument("--seconds", type=float, default=MEASURE_S, help="how long to measure")
    options = parser.parse_args()
    with lan_host(options.keep) as (_, tier):
        time.sleep(SETTLE_S)
        before, began = look(tier), time.monotonic()
        peak = {unit: rss for unit, (rss, _) in before.items()}
        while time.monotonic() - began < options.seconds:
            time.sleep(15)
            peak = {unit: max(peak[unit], rss) for unit, (rss, _) in look(tier).items()}
        after, seconds = look(tier), time.monotonic() - began
        missing = sorted(set(UNITS) - set(after))
        shares = {unit: (after[unit][1] - before[unit][1]) / seconds for unit in after}
        for unit in after:
            print(f"{unit:<26} {peak[unit]:6.1f} MB {shares[unit] * 100:6.2f} % of a core")
    if missing:
        raise SystemExit(f"not running, so not measured: {', '.join(missing)}")
    figures = {
        "rss_mb": round(sum(peak.values()), 1),
        "cpu_share": round(sum(shares.values()), 4),
        "seconds": round(seconds),
        "suite": SUITE,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
