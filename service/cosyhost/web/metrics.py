"""What Prometheus is told; no user's data in any label."""

from __future__ import annotations

import contextlib

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics, generate_latest

from cosyhost.engines import Engine
from cosyhost.errors import KINDS, Problem
from cosyhost.jobs import Fleet, Ledger
from cosyhost.web.job_metrics import JobMetrics
from cosyhost.web.queue_metrics import QueueCollector


class Metrics:
    """The counters of this web process; summed over all of them each job is counted once."""

    def __init__(self, ledger: Ledger, fleet: Fleet, engine: Engine) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._ledger = ledger
        self._registry = CollectorRegistry()
        self._registry.register(QueueCollector(ledger, fleet))
        self._problems = Counter(
            "cosyhost_problems", "Requests refused or failed.", ["code"], registry=self._registry
        )
        for code in KINDS:  # a series that begins at 1 shows no increase
            self._problems.labels(code)
        self.jobs = JobMetrics(self._registry, engine)

    def problem(self, code: str) -> None:
        """Count a problem by its code."""
        self._problems.labels(code).inc()

    def exposition(self) -> bytes:
        """The metrics in Prometheus' text format."""
        self._take_ended()
        return generate_latest(self._registry)

    def _take_ended(self) -> None:
        """Count what ended since anybody last did.

        At the scrape and not in a loop: what is taken leaves in the same answer, so a process that
        dies takes no more than that with it; what it had not taken, the next one counts.
        """
        with contextlib.suppress(Problem):  # the queue is away, which `cosyhost_queue_up` says
            ended, spoken = self._ledger.take_ended()
            for job in ended:
                self.jobs.ended(job)
            for engine, seconds in spoken.items():
                self.jobs.spoken(engine, seconds)
