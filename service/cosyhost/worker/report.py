"""Tells the other hosts through Redis how this worker is, and puts back the jobs of the dead."""

from __future__ import annotations

import logging
import threading
import time

import redis

from cosyhost.errors import Problem
from cosyhost.jobs import Fleet, Healer, Unit
from cosyhost.worker.process import is_dead_here
from cosyhost.worker.supervisor import Supervisor

log = logging.getLogger(__name__)

# A crashed child's job is to run again within 2 s.
_EVERY_S = 0.5


class Report:
    """A thread beside the supervisor's: its calls may take as long as Redis is away."""

    def __init__(
        self, name: str, modes: frozenset[str], supervisor: Supervisor, fleet: Fleet, healer: Healer
    ) -> None:
        self._name = name
        self._modes = modes
        self._supervisor = supervisor
        self._fleet = fleet
        self._healer = healer

    def start(self) -> None:
        """Report as long as the process lives."""
        threading.Thread(target=self._report, name="report", daemon=True).start()

    def _report(self) -> None:
        greeted = False
        while True:
            try:
                if not greeted:
                    before = self._fleet.unit(self._name)
                    if before is not None and before.state == "failed":
                        self._supervisor.failed_before()
                    greeted = True
                self.announce()
                if healed := self._healer.heal_after(is_dead_here):
                    log.warning("%d jobs of dead children were put back on the queue", healed)
            except (redis.RedisError, Problem):
                self._supervisor.queue_failed()
            time.sleep(_EVERY_S)

    def announce(self) -> None:
        """Say once how the worker is.

        Raises:
            Problem: QUEUE_UNAVAILABLE.
        """
        state, for_s, children, problem = self._supervisor.state()
        self._fleet.announce(
            Unit(
                name=self._name,
                state=state,
                for_s=for_s,
                children=children,
                modes=self._modes,
                problem=problem,
            )
        )
