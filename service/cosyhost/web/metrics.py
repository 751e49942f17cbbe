"""What Prometheus is told about requests and jobs; no user's data in any label."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cosyhost.errors import Problem
from cosyhost.jobs import UNIT_STATES, Fleet, Ledger, Status

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120)


class _QueueCollector(Collector):
    """Queue depth and workers, asked of the ledger at each scrape."""

    def __init__(self, ledger: Ledger, fleet: Fleet) -> None:
        self._ledger = ledger
        self._fleet = fleet

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("cosyhost_queue_up", "Whether the queue can be reached.")
        try:
            waiting, running = self._ledger.depth()
            workers = self._ledger.workers()
            units = Counts(unit.state for unit in self._fleet.units())
        except Problem:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield GaugeMetricFamily("cosyhost_jobs_waiting", "Jobs in the queue.", value=waiting)
        yield GaugeMetricFamily("cosyhost_jobs_running", "Jobs being spoken.", value=running)
        yield GaugeMetricFamily("cosyhost_worker_children", "Children alive.", value=workers)
        states = GaugeMetricFamily("cosyhost_worker_units", "Workers by state.", labels=["state"])
        for state in UNIT_STATES:
            states.add_metric([state], units[state])
        yield states


class Metrics:
    """The counters of this web process."""

    def __init__(self, ledger: Ledger, fleet: Fleet) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_QueueCollector(ledger, fleet))
        self._jobs = Counter(
            "cosyhost_jobs",
            "Jobs that ended; preview=1 was spoken by the preview engine, no clone.",
            ["mode", "engine", "preview", "outcome"],
            registry=self._registry,
        )
        self._problems = Counter(
            "cosyhost_problems", "Requests refused or failed.", ["code"], registry=self._registry
        )
        self._phases = Histogram(
            "cosyhost_job_phase_seconds",
            "Seconds of a job by phase.",
            ["phase"],
            buckets=_SECONDS,
            registry=self._registry,
        )

    def job_ended(self, status: Status) -> None:
        """Count a job once its client has seen its end."""
        preview = str(int(status.preview))
        self._jobs.labels(status.mode, status.engine, preview, status.state).inc()
        for phase, seconds in phases(status).items():
            self._phases.labels(phase).observe(seconds)

    def problem(self, code: str) -> None:
        """Count a problem by its code."""
        self._problems.labels(code).inc()

    def exposition(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)


def phases(status: Status) -> dict[str, float]:
    """Seconds by phase, of those that are over: upload, queue, ttfa, synth, encode."""
    known: dict[str, float] = {"upload": status.upload_s}
    if status.started is not None:
        known["queue"] = status.started - status.created
        if status.first_audio is not None:
            known["ttfa"] = status.first_audio - status.created
        if status.finished is not None:
            encode = status.encode_s or 0.0
            known["synth"] = status.finished - status.started - encode
            known["encode"] = encode
    return known
