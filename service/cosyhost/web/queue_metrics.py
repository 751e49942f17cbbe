"""Queue and workers as Prometheus is told of them: asked of the ledger at each scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cosyhost.errors import Problem
from cosyhost.jobs import UNIT_STATES, Fleet, Ledger


class QueueCollector(Collector):
    """Gauges of the one queue; all web processes say the same."""

    def __init__(self, ledger: Ledger, fleet: Fleet) -> None:
        self._ledger = ledger
        self._fleet = fleet

    def collect(self) -> Iterator[Metric]:
        """The gauges; only `up` and the limit when the queue cannot be reached."""
        up = GaugeMetricFamily("cosyhost_queue_up", "Whether the queue can be reached.")
        yield _gauge(
            "cosyhost_jobs_waiting_limit",
            "How many jobs may wait; the next is refused.",
            self._ledger.waiting_limit,
        )
        try:
            waiting, running = self._ledger.depth()
            oldest_s = self._ledger.oldest_wait_s()
            workers = self._ledger.workers()
            units = Counter(unit.state for unit in self._fleet.units())
        except Problem:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield _gauge("cosyhost_jobs_waiting", "Jobs in the queue.", waiting)
        yield _gauge("cosyhost_jobs_running", "Jobs being spoken.", running)
        yield _gauge(
            "cosyhost_queue_oldest_seconds",
            "How long the job that waits longest has waited; 0 when none waits.",
            oldest_s,
        )
        yield _gauge("cosyhost_worker_children", "Children alive.", workers)
        states = GaugeMetricFamily("cosyhost_worker_units", "Workers by state.", labels=["state"])
        for state in UNIT_STATES:
            states.add_metric([state], units[state])
        yield states


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(name, told, value=value)
