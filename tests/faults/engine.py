"""A worker whose engine fails on command; all else is the real one.

    python -m tests.faults.engine CONFIG GPU

The text of a job says what befalls it: `slow`, `patient`, `hang`, `hold`, `crash`, `memory`,
`lost`, `empty`; with `once` only its first attempt. The environment says how the engine loads:
COSYHOST_TEST_LOAD_S, COSYHOST_TEST_MODES, and COSYHOST_TEST_NOTES, a folder for notes; a file
`broken` there keeps it from loading, a file `wedge` there stops the consumer's loop.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from celery import bootsteps

from cosyhost import config, engines, logs, worker
from cosyhost.errors import ENGINE_FAILED, ENGINE_LOST, ENGINE_OUT_OF_MEMORY, Problem
from cosyhost.jobs import MODES, Broker

NOTES = Path(os.environ["COSYHOST_TEST_NOTES"])
RATE_HZ = 24_000


class Faulty:
    """Speaks silence-like noise, or fails."""

    name = "faulty"
    preview = True
    sample_rate = RATE_HZ
    modes = frozenset(os.environ.get("COSYHOST_TEST_MODES", ",".join(MODES)).split(","))

    def load(self) -> None:
        time.sleep(float(os.environ.get("COSYHOST_TEST_LOAD_S", "0.2")))
        (NOTES / f"gpu {os.getpid()}").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
        if (NOTES / "broken").exists():
            raise Problem(ENGINE_FAILED, reason="told to")

    def speak(self, speech: engines.Speech) -> Generator[npt.NDArray[np.int16], None, None]:
        chunk = np.full(RATE_HZ // 10, 500, dtype=np.int16)
        yield chunk
        first = not (NOTES / speech.text).exists()
        (NOTES / speech.text).touch()
        with (NOTES / "log").open("a") as log:
            log.write(f"{time.monotonic()} begin {speech.text} {os.getpid()}\n")
        if first or "once" not in speech.text:
            yield from self._fail(speech.text, chunk)
        with (NOTES / "log").open("a") as log:
            log.write(f"{time.monotonic()} end {speech.text} {os.getpid()}\n")

    def _fail(self, text: str, chunk: npt.NDArray[np.int16]) -> Iterator[npt.NDArray[np.int16]]:
        if "slow" in text:
            for _ in range(20):
                time.sleep(0.1)
                yield chunk
        if "patient" in text:
            time.sleep(600)
        # A CDLL lets other threads run meanwhile, a PyDLL holds the interpreter.
        for word, library in (("hang", ctypes.CDLL(None)), ("hold", ctypes.PyDLL(None))):
            while word in text:
                try:
                    library.sleep(600)
                except BaseException:  # deaf to signals, as native code is
                    continue
        if "crash" in text:
            ctypes.string_at(0)
        if "memory" in text:
            raise Problem(ENGINE_OUT_OF_MEMORY)
        if "lost" in text:
            raise Problem(ENGINE_LOST, reason="told to")
        while "empty" in text:
            time.sleep(0.05)
            yield chunk[:0]


class Wedge(bootsteps.StartStopStep):
    """Stops the consumer's loop when told to."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        parent.timer.call_repeatedly(0.2, self.look)

    def look(self) -> None:
        while (NOTES / "wedge").exists():
            time.sleep(0.1)


def main() -> int:
    engines.create = lambda settings: Faulty()
    init = Broker.__init__

    def with_wedge(self: Broker, *args: Any) -> None:
        init(self, *args)
        self.app.steps["consumer"].add(Wedge)

    Broker.__init__ = with_wedge  # type: ignore[method-assign,assignment]
    logs.set_up()
    worker.serve(config.load(Path(sys.argv[1])), None, sys.argv[2])
    return 0


if __name__ == "__main__":
    sys.exit(main())
