"""What the tests of the harness run in a process without other tests' threads.

The harness forks, and a lock that a thread holds at that moment is held for ever.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cosyhost.errors import QUEUE_UNAVAILABLE, TEXT_EMPTY, Problem
from tests.fuzz import TARGETS, harness
from tests.fuzz.harness import Run, Target, Totals, fuzz

_kept: list[int] = []


def target(name: str) -> Totals:
    """Some hundred cases of a target."""
    return fuzz(TARGETS[name], cases=300, seed=7, quiet=True)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _raise() -> None:
    raise ValueError("a bug")


def _refuse() -> None:
    raise Problem(TEXT_EMPTY)


def _fail() -> None:
    raise Problem(QUEUE_UNAVAILABLE, retry_after_s=5)


def _stall() -> None:
    time.sleep(60)


def _open_a_file() -> None:
    _kept.append(os.open(os.devnull, os.O_RDONLY))


FOUND: dict[str, tuple[Callable[[], None], Totals]] = {
    "a dead process": (_die, Totals("t", 40, crashes=1)),
    "an exception": (_raise, Totals("t", 40, crashes=1)),
    "the client's problem": (_refuse, Totals("t", 40)),
    "the server's problem": (_fail, Totals("t", 40, server_errors=1)),
    "no end": (_stall, Totals("t", 40, hangs=1)),
    "an open file": (_open_a_file, Totals("t", 40, leaks=1)),
}


def found(what: str, corpus: Path) -> Totals:
    """Of forty cases one does what is to be found."""
    harness.CORPUS, harness.HANG_S = corpus, 3.0
    act, _ = FOUND[what]

    @contextmanager
    def opened() -> Iterator[Run]:
        yield lambda data: act() if data == b"30" else None

    bad = harness.case(Target("t", lambda rng: rng.randbytes(4), opened), 1, 30)
    one = Target("t", lambda rng: b"30" if (made := rng.randbytes(4)) == bad else made, opened)
    return fuzz(one, cases=40, seed=1, quiet=True)
