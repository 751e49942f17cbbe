"""What the children tell their parent: a few numbers in memory that both see."""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from collections.abc import Iterator

from cosyhost.worker.process import started_ticks

_CODE_BYTES = 64


class Slot(ctypes.Structure):
    """One child's numbers, written by that child alone; times are of CLOCK_MONOTONIC, 0 is never.

    `started` are clock ticks since boot, `job_until` is when the child must be done with its job.
    """

    pid: int
    started: int
    beat: float
    loading_since: float
    ready_since: float
    job_until: float
    failures: int
    problem: bytes
    _fields_ = [
        ("pid", ctypes.c_int64),
        ("started", ctypes.c_int64),
        ("beat", ctypes.c_double),
        ("loading_since", ctypes.c_double),
        ("ready_since", ctypes.c_double),
        ("job_until", ctypes.c_double),
        ("failures", ctypes.c_int64),
        ("problem", ctypes.c_char * _CODE_BYTES),
    ]

    def begin(self) -> None:
        """This process is the child now, and loads its engine."""
        self.ready_since = self.job_until = 0.0
        self.beat = self.loading_since = time.monotonic()
        self.started = started_ticks(os.getpid())
        self.pid = os.getpid()

    def loaded(self) -> None:
        """The engine answered."""
        self.problem = b""
        self.failures = 0
        self.beat = self.ready_since = time.monotonic()
        self.loading_since = 0.0

    def not_loaded(self, code: str) -> None:
        """The engine did not load; the process is about to end."""
        self.problem = code.encode()[: _CODE_BYTES - 1]
        self.failures += 1

    def is_alive(self) -> bool:
        """Whether the child that wrote here is there."""
        try:
            return bool(self.pid) and started_ticks(self.pid) == self.started
        except ProcessLookupError:
            return False


class Slots:
    """A slot for each child, made before they are forked; a child's successor has its slot."""

    def __init__(self, children: int) -> None:
        # Anonymous and shared: what a child writes, the parent reads.
        memory = mmap.mmap(-1, ctypes.sizeof(Slot) * children)
        self._slots = (Slot * children).from_buffer(memory)

    def __getitem__(self, index: int) -> Slot:
        return self._slots[index]

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots)

    def __len__(self) -> int:
        return len(self._slots)
