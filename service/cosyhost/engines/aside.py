"""Slow work on a thread beside the one that waits for it, which stays free to look around."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from cosyhost.errors import Problem

T = TypeVar("T")

PULSE_S = 0.05
"""How often a caller who waits is given the chance to leave; a human does not notice it."""


@dataclass(frozen=True)
class _End:
    problem: Problem | None


class Aside(Generic[T]):
    """Runs through `items` on a thread of its own.

    What ends them early is named by `problem_of` and followed by `tidy`, before the caller hears of
    it.
    """

    def __init__(
        self,
        items: Iterable[T],
        problem_of: Callable[[Exception], Problem],
        tidy: Callable[[Problem], None],
    ) -> None:
        self._items = items
        self._problem_of = problem_of
        self._tidy = tidy
        self._made: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
        # A daemon: a thread that hangs in a driver must not keep its process from ending.
        self._thread = threading.Thread(target=self._run, name="synthesis", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        end = _End(None)
        try:
            for item in self._items:
                self._made.put(item)
        except Exception as error:
            end = _End(self._problem_of(error))
        if end.problem:
            # Only here, where nobody holds the exception with its frames and their tensors.
            self._tidy(end.problem)
        self._made.put(end)

    def __iter__(self) -> Iterator[T | None]:
        """The items as they come, and None at each pulse without one.

        Raises:
            Problem: what ended the items early.
        """
        while True:
            try:
                item = self._made.get(timeout=PULSE_S)
            except queue.Empty:
                yield None
                continue
            if isinstance(item, _End):
                if item.problem:
                    raise item.problem
                return
            yield item

    def ended(self, timeout_s: float) -> bool:
        """Wait for the thread; whether it has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()
