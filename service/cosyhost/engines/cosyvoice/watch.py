"""The watch over upstream's threads: progress, an end on demand, and no death in silence.

Upstream runs its language model on a thread that nobody looks after: when it dies a streaming
caller waits for ever, and when the caller leaves it runs on to its cap.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any


class Stopped(Exception):
    """Thrown inside upstream's threads to end them."""


class NoTokens(Exception):
    """The language model ended before it said anything."""


class Run:
    """One segment's synthesis, as the watch sees it."""

    def __init__(self) -> None:
        self.stopped = False
        self.error: Exception | None = None
        self.moved_at = time.monotonic()

    def moved(self) -> None:
        """Note that something was made, or end here if it is no longer wanted."""
        if self.stopped:
            raise Stopped
        self.moved_at = time.monotonic()


class Watch:
    """Stands between upstream's model object and its threads; one job at a time."""

    def __init__(self, model: Any) -> None:
        self._tables = (model.tts_speech_token_dict, model.llm_end_dict, model.hift_cache_dict)
        self._job, self._inference = model.llm_job, model.llm.inference
        self._run = Run()
        self._thread: threading.Thread | None = None
        self._own = threading.local()
        # Attributes of these objects; upstream's classes stay as they are.
        model.llm_job, model.llm.inference = self._watched_job, self._watched_inference
        # The flow's ten steps are the only place to stop inside a long call. TensorRT's takes no
        # hooks and needs none: it is fast.
        estimator = getattr(getattr(model.flow, "decoder", None), "estimator", None)
        if hook := getattr(estimator, "register_forward_pre_hook", None):
            hook(lambda *_: self._run.moved())

    @property
    def run(self) -> Run:
        """The run of the segment that is being spoken."""
        return self._run

    def begin(self) -> Run:
        """A new run for the next segment."""
        self._run = Run()
        return self._run

    def stop(self) -> None:
        """End upstream's threads, and drop what they left.

        Without their entries both threads end by themselves at the next look (0.1 s at most); the
        flag also ends a model that utters only silence, which upstream does not enter.
        """
        self._run.stopped = True
        self._forget()

    def ended(self, timeout_s: float) -> bool:
        """Wait for the language model's thread; whether it has ended."""
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _forget(self) -> None:
        for table in self._tables:
            table.clear()

    def _watched_job(self, *args: Any, **named: Any) -> None:
        self._own.run = run = self._run
        self._thread = threading.current_thread()
        try:
            self._job(*args, **named)
        except Exception as error:
            # A KeyError after a stop is upstream missing its entry: the end we asked for.
            if not run.stopped:
                run.error = error
            # The other thread meets this as a KeyError, and asks the run for the cause.
            self._forget()

    def _watched_inference(self, *args: Any, **named: Any) -> Iterator[Any]:
        run: Run = self._own.run
        spoke = False
        for token in self._inference(*args, **named):
            run.moved()
            spoke = True
            yield token
        if not spoke:
            raise NoTokens
