"""The Celery app that carries the ids of jobs to workers."""

from __future__ import annotations

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from cosyhost.config import Config
from cosyhost.errors import QUEUE_UNAVAILABLE, Problem
from cosyhost.jobs.job import MODES, Job
from cosyhost.jobs.limits import time_limits

TASK = "cosyhost.speak"
# A job that broke off goes before those that never began.
_AGAIN, _FIRST_TIME = 0, 9
_SEPARATOR = "\x06\x16"


def queue_of(mode: str) -> str:
    """The queue of a mode; workers take from those that their engine can do."""
    return f"speech.{mode}"


def lists() -> list[str]:
    """The Redis lists that hold messages not delivered yet: per mode and priority."""
    # kombu's naming: the first priority has the plain name.
    return [queue_of(mode) + end for mode in MODES for end in ("", f"{_SEPARATOR}{_FIRST_TIME}")]


class Broker:
    """The Celery app, with the settings that lost nothing when things were killed."""

    def __init__(self, config: Config, password: str | None) -> None:
        limit_s = config.jobs.time_limit_s
        self._text_chars = config.limits.text_chars
        self._bound_s = limit_s
        transport = {
            "visibility_timeout": limit_s + 60,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "priority_steps": [_AGAIN, _FIRST_TIME],
            "sep": _SEPARATOR,
            "socket_timeout": 5,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
            "health_check_interval": 5,
        }
        self.app = Celery("cosyhost", broker=_with_password(config.redis.url, password))
        self.app.conf.update(
            task_ignore_result=True,
            task_acks_late=True,
            task_reject_on_worker_lost=True,
            worker_prefetch_multiplier=1,
            # Each message brings its own; these are for one without.
            task_time_limit=limit_s,
            task_soft_time_limit=limit_s - 10,
            # A child that loads its model for longer than the default 4 s is killed in a loop.
            worker_proc_alive_timeout=config.jobs.load_timeout_s,
            worker_max_tasks_per_child=config.jobs.recycle_after_jobs,
            worker_max_memory_per_child=config.jobs.recycle_above_mb * 1024,  # in KiB
            broker_connection_retry_on_startup=True,
            broker_connection_max_retries=None,
            broker_transport_options=transport,
            worker_send_task_events=False,
        )

    def publish(self, job: Job, *, again: bool = False) -> None:
        """Tell a worker of the job's mode to look at it; with `again`, before all others.

        Raises:
            Problem: QUEUE_UNAVAILABLE.
        """
        limits = time_limits(job, self._text_chars, self._bound_s)
        try:
            self.app.send_task(
                TASK,
                args=[job.id],
                task_id=job.id,
                queue=queue_of(job.mode),
                priority=_AGAIN if again else _FIRST_TIME,
                soft_time_limit=limits.soft,
                time_limit=limits.hard,
                retry=False,
            )
        except (OperationalError, redis.RedisError) as error:
            raise Problem(QUEUE_UNAVAILABLE, retry_after_s=5) from error

    def reach(self) -> None:
        """Connect as a worker does, transport and password included.

        Raises:
            Problem: QUEUE_UNAVAILABLE.
        """
        try:
            with self.app.connection_for_read() as connection:
                connection.ensure_connection(max_retries=1, timeout=5)
        except (OperationalError, redis.RedisError) as error:
            raise Problem(QUEUE_UNAVAILABLE, retry_after_s=5) from error


def _with_password(url: str, password: str | None) -> str:
    """The broker's URL as kombu wants it; it stays inside this process."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://:{password}@{rest}" if password else url
