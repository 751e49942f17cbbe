"""The worker process: Celery's prefork pool, each child with an engine of its own."""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import logging
import os
import socket
from typing import Any

import redis
from billiard import current_process
from celery import signals
from celery.utils.log import get_multiprocessing_logger
from celery.worker import state as celery_state

from cosyhost import engines
from cosyhost.config import Config
from cosyhost.errors import ENGINE_FAILED, Problem
from cosyhost.jobs import TASK, Broker, Fleet, Healer, Ledger, connect, queue_of
from cosyhost.worker import gpu as gpus
from cosyhost.worker.child import Child
from cosyhost.worker.consumer import Pulse
from cosyhost.worker.process import is_dead_here, process_name
from cosyhost.worker.report import Report
from cosyhost.worker.slots import Slots
from cosyhost.worker.supervisor import Supervisor

__all__ = ["check", "is_dead_here", "process_name", "serve"]

log = logging.getLogger(__name__)


def serve(config: Config, password: str | None, gpu: str) -> None:
    """Run the worker until it is told to stop; running jobs are finished first.

    It takes jobs, and is ready for systemd, once the first child's engine has answered. The parent
    watches (`Supervisor`, `Report`) and never touches CUDA.

    Raises:
        SystemExit: with EX_UNAVAILABLE when no child can load the engine.
    """
    # On SIGABRT, which the watchdog sends, the journal gets every thread's stack.
    faulthandler.enable()
    gpus.pin(gpu)
    children = gpus.children_for(config.jobs.children, gpu)
    modes = engines.create(config.engine).modes
    log.info(
        "worker begins: modes %s",
        ", ".join(sorted(modes)),
        extra={"gpu": gpu, "children": children},
    )

    broker = Broker(config, password)
    slots, turn, pulse = Slots(children), gpus.Turn(), Pulse()
    supervisor = Supervisor(slots, pulse, config.jobs.load_timeout_s)
    report = _report(config, password, broker, f"{socket.gethostname()}/{gpu}", modes, supervisor)
    _load_in_children(config, password, broker, slots, turn)
    _recycle_one_by_one(config.jobs.recycle_after_jobs, children)
    _take_nothing_before_loaded(supervisor, report)

    @signals.worker_shutting_down.connect(weak=False)
    def stopping(**_: object) -> None:
        supervisor.stop()

    broker.app.steps["consumer"].add(pulse.step())
    supervisor.start()
    report.start()
    _log_our_way()
    broker.app.worker_main(
        [
            "--quiet",  # no banner: it is no record
            "worker",
            "--pool=prefork",
            f"--concurrency={children}",
            f"--queues={','.join(queue_of(mode) for mode in sorted(modes))}",
            f"--hostname={gpu}@%h",
            "--without-gossip",
            "--without-mingle",
        ]
    )
    if not supervisor.ever_ready and celery_state.should_stop is None:
        log.critical("no child could load the engine: the worker ends")
        raise SystemExit(os.EX_UNAVAILABLE)


def _log_our_way() -> None:
    @signals.setup_logging.connect(weak=False)
    def leave(**_: object) -> None:
        # With a receiver Celery leaves handlers and stdout alone. Its pool's logger has none.
        if (pool := get_multiprocessing_logger()) is not None:
            pool.propagate = True

    # Celery's own lines for each job (received, succeeded) say less than ours, and cost time.
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _report(
    config: Config,
    password: str | None,
    broker: Broker,
    name: str,
    modes: frozenset[str],
    supervisor: Supervisor,
) -> Report:
    client = connect(config, password)
    ledger = Ledger(client, waiting_limit=config.limits.waiting_jobs, keep_s=config.jobs.keep_s)
    return Report(name, modes, supervisor, Fleet(client), Healer(client, ledger, broker))


def _load_in_children(
    config: Config, password: str | None, broker: Broker, slots: Slots, turn: gpus.Turn
) -> None:
    """Let each child load its engine after the fork, and run jobs with it."""
    children: list[Child] = []

    @signals.worker_process_init.connect(weak=False)
    def begin(**_: object) -> None:
        process: Any = current_process()
        slot = slots[process.index]
        try:
            child = Child(config, password, slot, turn)
            child.start()
        except BaseException as error:
            # Celery swallows what a signal handler raises and would offer jobs to a dead engine.
            # No job was here yet: what the exception says is nobody's words.
            log.exception("the engine %s did not load: %s", config.engine.kind, error)
            kind = error.kind if isinstance(error, Problem) else ENGINE_FAILED
            slot.not_loaded(kind.code)
            logging.shutdown()
            os._exit(os.EX_UNAVAILABLE)
        children.append(child)

    @signals.worker_process_shutdown.connect(weak=False)
    def end(**_: object) -> None:
        for child in children:
            child.stop()

    def speak(task: Any, job_id: str) -> None:
        hard_s, soft_s = task.request.timelimit
        children[0].run(job_id, soft_s or task.soft_time_limit, hard_s or task.time_limit)

    broker.app.task(name=TASK, bind=True)(speak)


def _recycle_one_by_one(jobs: int, children: int) -> None:
    """Spread the first children's ends, so that they do not all load their engines at once."""
    first = (jobs + jobs * number // children for number in range(children))
    lives = itertools.chain(first, itertools.repeat(jobs))

    @signals.worker_before_create_process.connect(weak=False)
    def give_life(sender: Any, **_: object) -> None:
        # Celery has one number for all; each child is given what stands here when it is forked.
        sender._maxtasksperchild = next(lives)


def _take_nothing_before_loaded(supervisor: Supervisor, report: Report) -> None:
    @signals.worker_ready.connect(weak=False)
    def wait(**_: object) -> None:
        # In the main thread, before the consumer's loop turns for the first time. Celery ends on
        # SystemExit but forgets its status: `serve` gives it.
        if not supervisor.wait_until_loaded(lambda: celery_state.should_stop is not None):
            with contextlib.suppress(redis.RedisError, Problem):
                report.announce()
            raise SystemExit(os.EX_UNAVAILABLE)


def check(config: Config, password: str | None) -> None:
    """Reach the queue, load the engine and let it speak once: the gate a release must pass.

    Raises:
        Problem: QUEUE_UNAVAILABLE or ENGINE_FAILED.
    """
    Broker(config, password).reach()
    engine = engines.create(config.engine)
    engine.load()
    print(f"cosyhost: worker is well, {engines.prove(engine):.1f} s were spoken")
