"""One child of a worker: an engine of its own, and the jobs it runs."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import redis
from celery.exceptions import SoftTimeLimitExceeded

from cosyhost import audio, engines
from cosyhost.config import Config
from cosyhost.errors import (
    ENGINE_FAILED,
    ENGINE_LOST,
    ENGINE_OUT_OF_MEMORY,
    JOB_TIMEOUT,
    JOB_UNKNOWN,
    PROMPT_MISSING,
    Problem,
)
from cosyhost.jobs import HEARTBEAT_S, AudioWriter, Job, Ledger, connect, output_key
from cosyhost.labels import Label, utc
from cosyhost.store import Store
from cosyhost.voices import prompt_key
from cosyhost.worker.gpu import Turn
from cosyhost.worker.process import is_dead_here, process_name
from cosyhost.worker.slots import Slot

log = logging.getLogger(__name__)

BEAT_S = 1.0
# How far beyond its hard limit a job may be before the parent ends its child, Celery having failed.
_OVERTIME_S = 3.0
# The longest pause before an engine that did not load is tried again.
_LONGEST_PAUSE_S = 30
_STORE_AGAIN_S = 1.0

_T = TypeVar("_T")


class Child:
    """One child: an engine, and the threads that say the child is alive."""

    def __init__(self, config: Config, password: str | None, slot: Slot, turn: Turn) -> None:
        self._config = config
        self._slot = slot
        self._turn = turn
        self._redis = connect(config, password)
        self._ledger = Ledger(
            self._redis,
            waiting_limit=config.limits.waiting_jobs,
            keep_s=config.jobs.keep_s,
        )
        self._store = Store(config.store)
        self._engine = engines.create(config.engine)
        self._name = process_name(os.getpid())
        self._current: str | None = None

    def start(self) -> None:
        """Load the engine, then show up among the workers."""
        self._slot.begin()
        threading.Thread(target=self._beat_here, name="beat", daemon=True).start()
        if self._slot.failures:
            time.sleep(min(_LONGEST_PAUSE_S, 2**self._slot.failures))
        self._engine.load()
        self._slot.loaded()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def _beat_here(self) -> None:
        """For the parent: not to be held up by Redis."""
        while True:
            self._slot.beat = time.monotonic()
            time.sleep(BEAT_S)

    def _beat(self) -> None:
        while True:
            with contextlib.suppress(redis.RedisError, Problem):
                self._ledger.beat(self._name)
                if job_id := self._current:
                    self._ledger.renew(job_id, self._name)
            time.sleep(HEARTBEAT_S)

    def stop(self) -> None:
        """Leave the list of workers at once instead of by silence."""
        with contextlib.suppress(redis.RedisError):
            self._ledger.leave(self._name)

    def run(self, job_id: str, soft_s: float, hard_s: float) -> None:
        """Run the job if it is to be run; whatever happens, its client is told.

        The limits are enforced from outside: `soft_s` raises SoftTimeLimitExceeded here, `hard_s`
        ends the process.
        """
        self._slot.job_until = time.monotonic() + hard_s + _OVERTIME_S
        try:
            self._run(job_id, soft_s)
        except SoftTimeLimitExceeded:
            self._ledger.fail(job_id, self._name, Problem(JOB_TIMEOUT, limit=round(soft_s)))
        finally:
            self._current = None
            self._slot.job_until = 0.0

    def _run(self, job_id: str, soft_s: float) -> None:
        claimed = self._claim(job_id)
        if isinstance(claimed, str) and claimed.startswith("running:"):
            # A message for a leased job: its child died (then the job is ours), or it is delivered
            # twice (then it is not).
            owner = claimed.removeprefix("running:")
            if is_dead_here(owner) and self._ledger.release(job_id, owner):
                claimed = self._claim(job_id)
        if isinstance(claimed, str):
            log.info("job not run: it is %s", claimed.partition(":")[0], extra={"job": job_id})
            return
        job, attempt = claimed
        self._current = job_id
        this = {"job": job_id, "attempt": attempt}
        began = time.monotonic()
        try:
            self._speak_on_a_gpu(job, attempt)
        except SoftTimeLimitExceeded:
            log.warning("job stopped: longer than %d s", soft_s, extra=this)
            self._ledger.fail(job_id, self._name, Problem(JOB_TIMEOUT, limit=round(soft_s)))
        except Problem as problem:
            if problem.kind is ENGINE_LOST:
                # The parent puts the job back, and the next attempt is another process's.
                log.critical("job broken off, this child ends: %s", problem, extra=this)
                logging.shutdown()
                os._exit(os.EX_SOFTWARE)
            log.warning("job failed", extra=this | {"code": problem.kind.code})
            self._ledger.fail(job_id, self._name, problem)
        except redis.RedisError:
            # The queue is away: the lease runs out, and the job is published again.
            log.warning("job broken off: the queue cannot be reached", extra=this)
        except Exception as error:
            log.exception("job failed", extra=this)
            reason = type(error).__name__
            self._ledger.fail(job_id, self._name, Problem(ENGINE_FAILED, reason=reason))
        finally:
            self._current = None
        log.info("job ended", extra=this | {"seconds": round(time.monotonic() - began, 3)})

    def _speak_on_a_gpu(self, job: Job, attempt: int) -> None:
        """Speak beside the other children, and once more alone if the memory was not enough."""
        try:
            with self._turn.shared():
                self._speak(job, attempt)
        except Problem as problem:
            if problem.kind is not ENGINE_OUT_OF_MEMORY:
                raise
            log.warning(
                "out of GPU memory, tried again with the GPU to itself",
                extra={"job": job.id, "attempt": attempt},
            )
            with self._turn.alone():
                self._speak(job, attempt)

    def _claim(self, job_id: str) -> tuple[Job, int] | str:
        engine = self._engine
        return self._ledger.claim(
            job_id, self._name, engine=engine.name, preview=int(engine.preview)
        )

    def _speak(self, job: Job, attempt: int) -> None:
        engine, began = self._engine, time.monotonic()
        spoken = bytearray()
        sign = audio.sign(engine.sample_rate, job.mark)
        with (
            AudioWriter(self._redis, job.id, attempt, engine.sample_rate) as stream,
            self._prompt_file(job.prompt) as prompt_audio,
        ):
            speech = engines.Speech(
                mode=job.mode,
                text=job.text,
                prompt_audio=prompt_audio,
                prompt_text=job.prompt_text,
                instruction=job.instruction,
                speed=job.speed,
                seed=job.seed,
            )
            with contextlib.closing(engine.speak(speech)) as chunks:
                for chunk in chunks:
                    pcm = chunk.astype("<i2").tobytes()
                    if pcm and not spoken and job.mark == "start":
                        # With the first speech and not before: an engine that fails is not heard,
                        # and the time to the first sound stays the engine's.
                        pcm = sign + pcm
                    # An engine that has nothing yet says so by an empty chunk: it only asks.
                    if not stream.write(pcm):
                        log.info("job stopped: cancelled", extra={"job": job.id})
                        return
                    spoken += pcm
            if spoken and job.mark == "end":
                if not stream.write(sign):
                    log.info("job %s stopped: cancelled", job.id)
                    return
                spoken += sign
        if not spoken:
            raise Problem(ENGINE_FAILED, reason="no sound")
        encoding = time.monotonic()
        first_audio = self._ledger.status(job.id).first_audio or time.time()
        label = Label(
            engine=engine.name,
            preview=engine.preview,
            created=utc(first_audio),
            job=job.id,
            producer=self._config.label.producer,
        )
        output = audio.encode(bytes(spoken), engine.sample_rate, "wav", label)
        self._patiently(functools.partial(self._store.put, output_key(job.id), output))
        ended = time.monotonic()
        per_s = 2 * engine.sample_rate
        figures = {
            "audio_s": len(spoken) / per_s,
            "mark_s": len(sign) / per_s,
            "encode_s": ended - encoding,
        }
        if not self._ledger.finish(job.id, self._name, "done", **figures):
            self._drop_if_unwanted(job.id)
        self._ledger.note_duration(ended - began)

    def _patiently(self, act: Callable[[], _T]) -> _T:
        """Ask the store again until the job's time is up: what was spoken is not to be lost.

        Without it no other job could be run either.
        """
        away: Problem | None = None
        try:
            while True:
                try:
                    return act()
                except Problem as problem:
                    away = problem
                time.sleep(_STORE_AGAIN_S)
        except SoftTimeLimitExceeded:
            if away is None:
                raise
            raise away from None

    def _drop_if_unwanted(self, job_id: str) -> None:
        """Remove an output whose job was cancelled or forgotten while it was written."""
        try:
            unwanted = self._ledger.status(job_id).state == "cancelled"
        except Problem as problem:
            unwanted = problem.kind is JOB_UNKNOWN
        if unwanted:
            self._store.delete(output_key(job_id))

    @contextlib.contextmanager
    def _prompt_file(self, sha256: str) -> Iterator[Path]:
        """The prompt as a file, which is all that upstream can read."""
        if (kept := self._store.file(prompt_key(sha256))) is not None:
            yield kept
            return
        data = self._patiently(functools.partial(self._store.get, prompt_key(sha256)))
        if data is None:
            raise Problem(PROMPT_MISSING)
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            file.write(data)
            file.flush()
            yield Path(file.name)
