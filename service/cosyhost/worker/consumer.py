"""What goes on in Celery's consumer, told by a step of its own that runs in its loop."""

from __future__ import annotations

import time
from typing import Any

from celery import bootsteps
from celery.worker import state as celery_state

_EVERY_S = 1.0
# The pool hears of a child's end when its pipe closes. The kernel closes it just before the child
# can be waited for, so the pool often finds it alive still and looks again 5 s later.
_LOOK_FOR_ENDED_S = 0.25


class Pulse:
    """The consumer's last sign of life, and since when a job it took was not begun."""

    def __init__(self) -> None:
        self.beat = 0.0
        self.unbegun_since: float | None = None
        self._seen: dict[str, float] = {}

    def tick(self) -> None:
        """Called in the consumer's loop, so a loop that stands still calls no more."""
        now = time.monotonic()
        taken = set(celery_state.reserved_requests) - set(celery_state.active_requests)
        self._seen = {request.id: self._seen.get(request.id, now) for request in taken}
        self.unbegun_since = min(self._seen.values(), default=None)
        self.beat = now

    def step(self) -> type[bootsteps.StartStopStep]:
        """The step that calls `tick` as long as the consumer is connected and its loop turns."""
        pulse = self

        class Step(bootsteps.StartStopStep):
            requires = ("celery.worker.consumer.tasks:Tasks",)

            def start(self, parent: Any) -> None:
                pulse.tick()
                # A lost connection clears the timer; the next one starts this step again.
                parent.timer.call_repeatedly(_EVERY_S, pulse.tick)
                parent.timer.call_repeatedly(_LOOK_FOR_ENDED_S, parent.pool.maintain_pool)

        return Step
