"""The worker process: Celery children, each with an engine of its own, that run jobs."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import redis
from celery import signals
from celery.exceptions import SoftTimeLimitExceeded

from cosyhost import audio, engines, labels
from cosyhost.config import Config
from cosyhost.errors import ENGINE_FAILED, JOB_TIMEOUT, JOB_UNKNOWN, PROMPT_MISSING, Problem
from cosyhost.jobs import (
    HEARTBEAT_S,
    TASK,
    AudioWriter,
    Broker,
    Job,
    Ledger,
    connect,
    output_key,
)
from cosyhost.store import Store
from cosyhost.systemd import notify
from cosyhost.voices import prompt_key

log = logging.getLogger(__name__)


def process_name(pid: int) -> str:
    """A name for a process that no other process, host or boot shares."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    # Field 22 of proc_pid_stat(5), counted after the name, which may hold spaces.
    started = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    return f"{socket.gethostname()}/{boot}/{pid}/{started}"


def is_dead_here(name: str) -> bool:
    """Whether the process of that name ran on this host and is gone."""
    host, boot, pid, _ = name.split("/")
    if not process_name(os.getpid()).startswith(f"{host}/{boot}/"):
        return False
    try:
        return process_name(int(pid)) != name
    except FileNotFoundError:
        return True


class Child:
    """One child: an engine, and the thread that says the child is alive."""

    def __init__(self, config: Config, password: str | None) -> None:
        self._config = config
        self._redis = connect(config, password)
        self._ledger = Ledger(
            self._redis,
            waiting_limit=config.limits.waiting_jobs,
            keep_s=config.jobs.keep_s,
        )
        self._store = Store(config.store.url)
        self._engine = engines.create(config.engine.kind)
        self._name = process_name(os.getpid())
        self._current: str | None = None

    def start(self) -> None:
        """Load the engine, then show up among the workers."""
        self._engine.load()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        notify("READY=1")

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

    def run(self, job_id: str) -> None:
        """Run the job if it is to be run; whatever happens, its client is told."""
        claimed = self._claim(job_id)
        if isinstance(claimed, str) and claimed.startswith("running:"):
            # A message for a leased job: its child died (then the job is ours), or it is delivered
            # twice (then it is not).
            owner = claimed.removeprefix("running:")
            if is_dead_here(owner) and self._ledger.release(job_id, owner):
                claimed = self._claim(job_id)
        if isinstance(claimed, str):
            log.info("job %s not run: it is %s", job_id, claimed.partition(":")[0])
            return
        job, attempt = claimed
        self._current = job_id
        began = time.monotonic()
        try:
            self._speak(job, attempt)
        except SoftTimeLimitExceeded:
            limit = self._config.jobs.time_limit_s
            self._ledger.fail(job_id, self._name, Problem(JOB_TIMEOUT, limit=limit))
        except Problem as problem:
            log.warning("job %s failed: %s", job_id, problem.kind.code)
            self._ledger.fail(job_id, self._name, problem)
        except redis.RedisError:
            # The queue is away: the lease runs out, and the job is published again.
            log.warning("job %s broken off: the queue cannot be reached", job_id)
        except Exception as error:
            log.exception("job %s failed", job_id)
            reason = type(error).__name__
            self._ledger.fail(job_id, self._name, Problem(ENGINE_FAILED, reason=reason))
        finally:
            self._current = None
        log.info("job %s attempt %d: %.3f s", job_id, attempt, time.monotonic() - began)

    def _claim(self, job_id: str) -> tuple[Job, int] | str:
        engine = self._engine
        return self._ledger.claim(
            job_id, self._name, engine=engine.name, preview=int(engine.preview)
        )

    def _speak(self, job: Job, attempt: int) -> None:
        engine, began = self._engine, time.monotonic()
        spoken = bytearray()
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
            for chunk in engine.speak(speech):
                pcm = chunk.astype("<i2").tobytes()
                if not stream.write(pcm):
                    log.info("job %s stopped: cancelled", job.id)
                    return
                spoken += pcm
        if not spoken:
            raise Problem(ENGINE_FAILED, reason="no sound")
        encoding = time.monotonic()
        comment = labels.output_comment(engine.name, engine.preview, job.id)
        output = audio.encode(bytes(spoken), engine.sample_rate, "wav", comment)
        self._store.put(output_key(job.id), output)
        ended = time.monotonic()
        audio_s = len(spoken) / 2 / engine.sample_rate
        encode_s = ended - encoding
        if not self._ledger.finish(job.id, self._name, "done", audio_s=audio_s, encode_s=encode_s):
            self._drop_if_unwanted(job.id)
        self._ledger.note_duration(ended - began)

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
        data = self._store.get(prompt_key(sha256))
        if data is None:
            raise Problem(PROMPT_MISSING)
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            file.write(data)
            file.flush()
            yield Path(file.name)


def serve(config: Config, password: str | None, gpu: str) -> None:
    """Run the worker until it is told to stop; a running job is finished first."""
    broker = Broker(config, password)
    # Set in the child, after the fork: the parent must never touch CUDA.
    children: list[Child] = []

    @signals.worker_process_init.connect(weak=False)
    def begin(**_: object) -> None:
        try:
            child = Child(config, password)
            child.start()
        except BaseException:
            # Celery swallows what a signal handler raises and would offer jobs to a dead engine.
            log.exception("the engine %s did not load", config.engine.kind)
            logging.shutdown()
            os._exit(os.EX_UNAVAILABLE)
        children.append(child)

    @signals.worker_process_shutdown.connect(weak=False)
    def end(**_: object) -> None:
        for child in children:
            child.stop()

    def speak(job_id: str) -> None:
        children[0].run(job_id)

    broker.app.task(name=TASK)(speak)
    # Celery's own lines for each job (received, succeeded) say less than ours, and cost time.
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)
    broker.app.worker_main(
        [
            "worker",
            "--pool=prefork",
            f"--concurrency={config.jobs.children}",
            f"--hostname={gpu}@%h",
            "--loglevel=INFO",
            "--without-gossip",
            "--without-mingle",
        ]
    )


def check(config: Config, password: str | None) -> None:
    """Reach the queue, load the engine and let it speak once: the gate a release must pass.

    Raises:
        Problem: QUEUE_UNAVAILABLE or ENGINE_FAILED.
    """
    Broker(config, password).reach()
    engines.create(config.engine.kind).load()
