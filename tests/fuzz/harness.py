"""Runs a target's cases in a process of their own and counts what goes wrong.

A case is made from its number and the seed alone, so it can be made again. The number of the case
at work lies in memory shared with the parent: a crash or a hang in a C library costs that case, is
attributed to it, and the next process goes on behind it.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

import psutil

from cosyhost.errors import Problem

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "build/fuzz"
HANG_S = 30.0  # a case takes milliseconds; the decoder's own limit is 10 s of CPU time
_GROWTH_BYTES = 32 << 20
_FINDINGS_KEPT = 20
_TOLD_EVERY_S = 10.0
_END_CLEAN, _END_FOUND = 0, 3

Case = bytes
Make = Callable[[random.Random], Case]
Run = Callable[[Case], None]


class Left(Exception):
    """Something was left behind; the message says what."""


@dataclass(frozen=True)
class Target:
    """What is fuzzed.

    `open` gives, inside the process that runs the cases, how one is run; where something stays
    behind outside that process, it ends with `Left`.
    """

    name: str
    make: Make
    open: Callable[[], AbstractContextManager[Run]]


@dataclass
class Totals:
    """The line that is printed."""

    target: str
    cases: int = 0
    crashes: int = 0
    hangs: int = 0
    leaks: int = 0
    server_errors: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not (self.crashes or self.hangs or self.leaks or self.server_errors)


class _Shared:
    """Counters that outlive the process that writes them."""

    _FORM = struct.Struct("=QQQ")  # the next case, crashes, server errors

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, self._FORM.size)

    def read(self) -> tuple[int, int, int]:
        at, crashes, errors = self._FORM.unpack(self._map[:])
        return at, crashes, errors

    def write(self, at: int, crashes: int, errors: int) -> None:
        self._map[:] = self._FORM.pack(at, crashes, errors)


def case(target: Target, seed: int, number: int) -> Case:
    """The case of that number."""
    return target.make(random.Random(f"{target.name}:{seed}:{number}"))


def _keep(target: Target, seed: int, number: int, what: str) -> None:
    """Keep a failing input, and say how it is run again."""
    folder = CORPUS / target.name
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{what}-{seed}-{number}"
    if len(list(folder.iterdir())) < _FINDINGS_KEPT:
        kept.write_bytes(case(target, seed, number))
    print(f"{target.name}: {what} in case {number}; again with: ", end="", file=sys.stderr)
    print(f"python -m tests.fuzz --replay {kept} {target.name}", file=sys.stderr)


class _Watch:
    """What the process holds after its warm-up, to be compared at the end."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._process = psutil.Process()
        self._before = self._holds()

    def _holds(self) -> tuple[int, int, int, int]:
        return (
            self._process.memory_info().rss,
            self._process.num_fds(),
            len(self._process.children(recursive=True)),
            len(list(self._scratch.iterdir())),
        )

    def found(self) -> list[str]:
        """Which of them grew."""
        names = ("memory", "file descriptors", "child processes", "temporary files")
        allowed = (_GROWTH_BYTES, 0, 0, 0)
        pairs = zip(names, self._before, self._holds(), allowed, strict=True)
        return [
            f"{name}: {before} to {now}" for name, before, now, more in pairs if now > before + more
        ]


@contextlib.contextmanager
def _left_told(left: list[str]) -> Iterator[None]:
    try:
        yield
    except Left as found:
        left.append(str(found))


def _work(target: Target, seed: int, until: int, shared: _Shared, scratch: Path) -> NoReturn:
    """The process: run cases up to `until`; its exit status tells whether it left something."""
    os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
    watch: _Watch | None = None
    start, crashes, errors = shared.read()
    warm = start + min(200, (until - start) // 4)
    left: list[str] = []
    with _left_told(left), target.open() as run:
        for number in range(start, until):
            if number == warm:
                watch = _Watch(scratch)
            try:
                run(case(target, seed, number))
            except Problem as problem:
                if problem.kind.status >= 500:
                    errors += 1
                    print(f"{target.name}: {problem.kind.code}", file=sys.stderr)
                    _keep(target, seed, number, "server_error")
            except Exception:
                crashes += 1
                traceback.print_exc()
                _keep(target, seed, number, "crash")
            shared.write(number + 1, crashes, errors)
        left += watch.found() if watch else []
    for line in left:
        print(f"{target.name}: leak of {line}", file=sys.stderr)
    sys.stderr.flush()
    os._exit(_END_FOUND if left else _END_CLEAN)


def _fork(target: Target, seed: int, until: int, shared: _Shared, scratch: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        _work(target, seed, until, shared, scratch)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(1)


def _await(pid: int, shared: _Shared, target: Target, until: int, quiet: bool) -> int | None:
    """The wait status of the process, or None for one that hung and was ended."""
    at, since = shared.read()[0], time.monotonic()
    told = since
    pause = 0.01
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        now = time.monotonic()
        if (reached := shared.read()[0]) != at:
            at, since = reached, now
        elif now - since > HANG_S:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        if not quiet and now - told > _TOLD_EVERY_S:
            told = now
            print(f"{target.name}: {at} of {until}", file=sys.stderr)
        time.sleep(pause)
        pause = min(0.2, pause * 1.5)


def fuzz(target: Target, cases: int, seed: int, quiet: bool = False) -> Totals:
    """Run so many cases of a target."""
    shared, totals = _Shared(), Totals(target.name)
    scratch = Path(tempfile.mkdtemp(prefix="cosyhost-fuzz-"))
    sys.stdout.flush()
    try:
        while shared.read()[0] < cases:
            status = _await(
                _fork(target, seed, cases, shared, scratch), shared, target, cases, quiet
            )
            at, crashes, errors = shared.read()
            if status is not None and os.WIFEXITED(status):
                code = os.WEXITSTATUS(status)
                if code == _END_FOUND:
                    totals.leaks += 1
                elif code != _END_CLEAN:  # the harness or the target's start is at fault
                    raise SystemExit(f"{target.name}: its process ended with status {code}")
                continue
            if status is None:
                totals.hangs += 1
            _keep(target, seed, at, "hang" if status is None else "crash")
            shared.write(at + 1, crashes + (status is not None), errors)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    totals.cases, totals.crashes, totals.server_errors = shared.read()
    return totals


def line(totals: Totals) -> str:
    """The totals as one JSON line."""
    return json.dumps(asdict(totals))
