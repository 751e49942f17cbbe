"""Some hundred cases of each target, and a harness that finds what it is there to find."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import pytest

from cosyhost.errors import QUEUE_UNAVAILABLE, TEXT_EMPTY, Problem
from tests.fuzz import TARGETS, harness
from tests.fuzz.harness import Run, Target, Totals, fuzz

_kept: list[int] = []


@pytest.fixture(scope="module")
def fresh() -> Iterator[ProcessPoolExecutor]:
    """Processes without other tests' threads: the harness forks, and a lock held then is for ever."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


def _fuzzed(name: str) -> Totals:
    return fuzz(TARGETS[name], cases=300, seed=7, quiet=True)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_finds_nothing(name: str, fresh: ProcessPoolExecutor) -> None:
    assert fresh.submit(_fuzzed, name).result() == Totals(name, cases=300)


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


def _found(what: str, corpus: Path) -> Totals:
    harness.CORPUS, harness.HANG_S = corpus, 3.0
    act, _ = FOUND[what]

    @contextmanager
    def opened() -> Iterator[Run]:
        yield lambda data: act() if data == b"30" else None

    bad = harness.case(Target("t", lambda rng: rng.randbytes(4), opened), 1, 30)
    target = Target("t", lambda rng: b"30" if (made := rng.randbytes(4)) == bad else made, opened)
    return fuzz(target, cases=40, seed=1, quiet=True)


@pytest.mark.parametrize("what", FOUND)
def test_the_harness_finds(what: str, tmp_path: Path, fresh: ProcessPoolExecutor) -> None:
    expected = FOUND[what][1]
    assert fresh.submit(_found, what, tmp_path).result() == expected
    kept = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert kept == ([b"30"] if expected.crashes + expected.hangs + expected.server_errors else [])
