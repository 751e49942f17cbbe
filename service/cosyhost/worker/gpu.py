"""The GPU of a worker: which one, how many children it holds, and who may use it now.

Nothing here touches CUDA: the parent must not, or its children could not after the fork.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Literal

log = logging.getLogger(__name__)

# CosyVoice3 in fp32: 3.4 GB of weights, 4.4 to 4.6 GB at its peak by several reports. The CUDA
# driver and whoever draws the screen have the reserve. A V100 of 16 GB holds 3 by this.
_CHILD_MIB = 4700
_RESERVE_MIB = 1024
_QUERY = ("nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits")


def pin(gpu: str) -> None:
    """Let this process and its children see that GPU alone, by number or UUID."""
    # The numbers of nvidia-smi; CUDA's own order is by speed.
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu


def children_for(wanted: int | Literal["auto"], gpu: str) -> int:
    """How many children the worker has; `auto`: as many as the GPU's memory and the cores hold."""
    if wanted != "auto":
        return wanted
    memory = _memory_mib(gpu)
    if memory is None:
        return 1
    # A child keeps a core busy while it speaks.
    return max(1, min((memory - _RESERVE_MIB) // _CHILD_MIB, os.cpu_count() or 1))


def _memory_mib(gpu: str) -> int | None:
    """The GPU's memory as its driver says, or None without one."""
    try:
        said = subprocess.run(
            [*_QUERY, f"--id={gpu}"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
        return int(said)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        log.info("no GPU %s: nvidia-smi does not tell its memory (%s)", gpu, error)
        return None


class Turn:
    """Who may use the GPU: all children at once, or one alone.

    Record locks (fcntl(2)) belong to a process and end with it, so a child that is killed keeps
    nobody waiting. Whoever wants the GPU alone holds the door (byte 0) while those inside (byte 1)
    finish, so that newcomers cannot keep it waiting for ever.
    """

    def __init__(self) -> None:
        # For as long as the worker lives.
        self._file = tempfile.TemporaryFile()  # noqa: SIM115

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Beside others."""
        try:
            with self._lock(0, fcntl.LOCK_EX):
                fcntl.lockf(self._file, fcntl.LOCK_SH, 1, 1)
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, 1)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Once the others are done; nobody begins meanwhile."""
        with self._lock(0, fcntl.LOCK_EX), self._lock(1, fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def _lock(self, byte: int, kind: int) -> Iterator[None]:
        try:
            fcntl.lockf(self._file, kind, 1, byte)
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, byte)
