"""How long site.yml takes: on a bare host, with nothing to change, and so with stock settings.

Run it on an idle machine, as root: `make bench BENCH=provision`. `vs_stock_settings` is the
no-change run under Ansible's stock configuration divided by ours; both alternate in one session.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from tests.audit.connection import hang_up
from tests.e2e.tier import LOCKS, ROOT, Run, Tier
from tests.testbed import Settings, Testbed, wheelhouse

TIER, SUITE = "lan", "bookworm"
RUNS = 3


def processor() -> str:
    """The CPU's model."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def stock(empty: Path) -> dict[str, str]:
    """A configuration that says nothing but where the roles are and what is no host."""
    return {
        "ANSIBLE_CONFIG": str(empty),
        "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
        "ANSIBLE_INVENTORY_IGNORE_REGEX": "^secrets$",
    }


def unchanged(tier: Tier) -> Run:
    """A run that finds all in order."""
    run = tier.provision()
    changed = run.recap(tier.host.name)["changed"]
    if changed:
        raise SystemExit(f"a second run changed {changed} things:\n{run.tail}")
    return run


def main() -> None:
    """Measure, print a line per run, and one JSON line last."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=RUNS, help="no-change runs of each kind")
    runs = parser.parse_args().runs
    os.environ["COSYHOST_TESTBED"] = "bench"
    bed = Testbed(Settings.from_env())
    bed.build(SUITE)
    wheelhouse.ensure(bed.settings, SUITE, LOCKS)
    versions = (
        f"ansible-core {metadata.version('ansible-core')}, Python {platform.python_version()}"
    )
    print(f"{os.cpu_count()} cores, {processor()}; {versions}", flush=True)
    host = bed.up(f"voice-{TIER}", suite=SUITE)
    ours_control, stock_control = (Path(tempfile.mkdtemp(prefix="cb", dir="/tmp")) for _ in "ab")
    try:
        tier = Tier.on(TIER, bed, host, ours_control)
        with tempfile.NamedTemporaryFile(suffix=".cfg") as empty:
            plain = replace(tier, control=stock_control, settings=stock(Path(empty.name)))
            fresh_s = tier.provision().seconds
            print(f"bare host       {fresh_s:6.1f} s", flush=True)
            ours, theirs = [], []
            for _ in range(runs):
                ours.append(unchanged(tier).seconds)
                print(f"no change       {ours[-1]:6.1f} s", flush=True)
                theirs.append(unchanged(plain).seconds)
                print(f"stock settings  {theirs[-1]:6.1f} s", flush=True)
    finally:
        host.down()
        hang_up(ours_control)
        hang_up(stock_control)
    nochange_s, stock_s = statistics.median(ours), statistics.median(theirs)
    figures = {
        "fresh_s": round(fresh_s, 1),
        "nochange_s": round(nochange_s, 1),
        "vs_stock_settings": round(stock_s / nochange_s, 2),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
