"""Cleaning up 200,000 outputs: ours beside `find -delete` and systemd-tmpfiles in the same run.

Age: all files that are older than a week go, which are half of them. Quota: the same half goes, for
the total size. Scan: nothing goes. Each tool has a folder made anew (files of 3 KB, in memory by
default: on a disk its mood outweighs the tools; `--folder` names one), page caches warm; in turn,
medians of the runs. RSS is the most that a run over a million files had.

`make bench BENCH=retention` (about 4 minutes).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

FILES, BYTES, MANY = 200_000, 3072, 1_000_000
DAY_S = 86400.0
RUNS = 3

OURS = """
import sys, time, types
from cosyhost.retention import Policy, run
from cosyhost.retention.places import place_of
age, quota = int(sys.argv[2]), int(sys.argv[3])
with place_of(types.SimpleNamespace(url="file://" + sys.argv[1])) as place:
    report = run(place, Policy(age, quota, 0), now=time.time())
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
# The interpreter that a host's environments are made of.
PYTHON = "/usr/bin/python3"
# Theirs is compiled when it is installed, so ours must not be compiled anew by each run.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    "PYTHONPYCACHEPREFIX": str(Path("build/bench/pycache").resolve()),
}


def fill(folder: Path, files: int, size: int) -> None:
    """Outputs as the service names them; every second one is ten days old, the others one day.

    Nobody has fetched them lately.
    """
    folder.mkdir(parents=True)
    now, data = time.time(), bytes(size)
    handle = os.open(folder, os.O_RDONLY)
    for number in range(files):
        name = f"{number * 0x9E3779B97F4A7C15 % 2**128:032x}.wav"
        file = os.open(name, os.O_CREAT | os.O_WRONLY, 0o640, dir_fd=handle)
        os.write(file, data)
        then = now - (10 if number % 2 else 1) * DAY_S - number % 1000
        os.utime(file, (then, then))
        os.close(file)
    os.close(handle)


def took(command: list[str], expected_left: int, folder: Path) -> float:
    """Seconds of the whole process; proves what is left."""
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    seconds = time.monotonic() - began
    left = sum(1 for _ in folder.iterdir())
    if left != expected_left:
        raise SystemExit(f"{command[0]}: {left} files are left, expected {expected_left}")
    return seconds


def ours(root: Path, age_s: int, quota: int) -> list[str]:
    """Our run, as a process of its own."""
    return [PYTHON, "-c", OURS, str(root), str(age_s), str(quota)]


def find(folder: Path, days: int) -> list[str]:
    """GNU find."""
    return ["find", str(folder), "-type", "f", "-mmin", f"+{days * 1440}", "-delete"]


def tmpfiles(folder: Path, days: int) -> list[str]:
    """systemd-tmpfiles, by the time of change only (`mM:`): by default a use counts as one too."""
    line = f"e {folder} - - - mM:{days}d\n"
    config = folder.parent / "tmpfiles.conf"
    config.write_text(line)
    return ["systemd-tmpfiles", "--clean", str(config)]


def race(
    root: Path, ways: dict[str, Callable[[Path], list[str]]], left: int, runs: int
) -> dict[str, float]:
    """Median seconds of each way, each on a fresh folder."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, command in ways.items():
            folder = root / "outputs"
            fill(folder, FILES, BYTES)
            seconds[name].append(took(command(folder), left, folder))
            shutil.rmtree(folder)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print("  ".join(f"{name} {value:.2f} s" for name, value in medians.items()), flush=True)
    return medians


def most_rss_mb(root: Path) -> float:
    """Of a run that must delete half of a million files for their total size."""
    folder = root / "outputs"
    fill(folder, MANY, 0)
    # Sizes are what the policy counts: sparse ones cost no memory here.
    handle = os.open(folder, os.O_RDONLY)
    for name in [path.name for path in folder.iterdir()]:
        file = os.open(name, os.O_WRONLY, dir_fd=handle)
        found = os.fstat(file)
        os.truncate(file, BYTES)
        os.utime(file, (found.st_atime, found.st_mtime))
        os.close(file)
    os.close(handle)
    command = ours(root, 0, MANY * BYTES // 2)
    said = subprocess.check_output(command, text=True, env=ENVIRONMENT)
    shutil.rmtree(folder)
    return int(said) / 1024


def main() -> None:
    """One JSON line last."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--folder", default="/dev/shm", help="where the files are made")
    parser.add_argument("--runs", type=int, default=RUNS)
    options = parser.parse_args()
    week_s = int(7 * DAY_S)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        root = Path(name)
        rss_mb = most_rss_mb(root)
        print(f"a million files: {rss_mb:.0f} MB", flush=True)
        age = race(
            root,
            {
                "ours": lambda _: ours(root, week_s, 0),
                "find": lambda folder: find(folder, 7),
                "tmpfiles": lambda folder: tmpfiles(folder, 7),
            },
            FILES // 2,
            options.runs,
        )
        quota = race(
            root,
            {"ours": lambda _: ours(root, 0, FILES // 2 * BYTES)},
            FILES // 2,
            options.runs,
        )
        scan = race(
            root,
            {
                "ours": lambda _: ours(root, int(100 * DAY_S), 0),
                "find": lambda folder: find(folder, 100),
            },
            FILES,
            options.runs,
        )
    best = min(age["find"], age["tmpfiles"])
    figures = {
        "age_vs_best": round(age["ours"] / best, 2),
        "quota_vs_best": round(quota["ours"] / best, 2),
        "scan_vs_find": round(scan["ours"] / scan["find"], 2),
        "rss_mb": round(rss_mb, 1),
        "age_s": round(age["ours"], 2),
        "find_s": round(age["find"], 2),
        "tmpfiles_s": round(age["tmpfiles"], 2),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
