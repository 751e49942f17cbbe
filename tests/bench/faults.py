"""How soon a worker is over the death and the hanging of a child.

Real Redis and workers on loopback; the engine is the fault tests' own, which loads in 0.2 s.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import tempfile
import time
from pathlib import Path

from cosyhost.jobs import Job
from tests.faults.conftest import Deployment, alive

RUNS = 10
HUNG_RUNS = 3


def main() -> None:
    """Print the figures; the last line is JSON."""
    with tempfile.TemporaryDirectory(prefix="cosyhost-bench-") as name:
        deployment = Deployment(Path(name))
        try:
            deployment.worker()
            deployment.ready()
            restarts = [_killed(deployment, run) for run in range(RUNS)]
            hung = [_hung(deployment, run) for run in range(HUNG_RUNS)]
        finally:
            deployment.close()
    print(f"killed child to the job's next attempt: {[round(s, 2) for s in restarts]} s")
    print(f"a hung child beyond its job's hard limit: {[round(s, 2) for s in hung]} s")
    figures = {
        "crash_restart_s": round(statistics.median(restarts), 2),
        "crash_restart_max_s": round(max(restarts), 2),
        "hung_beyond_limit_max_s": round(max(hung), 2),
        "cores": os.cpu_count(),
    }
    print(json.dumps(figures))


def _attempts(deployment: Deployment, job: Job) -> int:
    return deployment.status(job).attempts


def _killed(deployment: Deployment, run: int) -> float:
    deployment.ready()
    job = deployment.submit(f"slow once {run}")
    child = deployment.owner(job)
    os.kill(child, signal.SIGKILL)
    began = time.monotonic()
    while _attempts(deployment, job) < 2:
        time.sleep(0.005)
    took = time.monotonic() - began
    deployment.ended(job)
    return took


def _hung(deployment: Deployment, run: int) -> float:
    """Seconds between the hard limit (a quarter of the bound, for a short text) and the end."""
    deployment.ready()
    job = deployment.submit(f"hang once {run}")
    child = deployment.owner(job)
    began = time.monotonic()
    limit = deployment.config.jobs.time_limit_s / 4
    while alive(child):
        time.sleep(0.01)
    took = time.monotonic() - began
    deployment.ended(job)
    return took - limit


if __name__ == "__main__":
    main()
