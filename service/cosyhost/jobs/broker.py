"""The Celery app that carries the ids of jobs to workers."""

from __future__ import annotations

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from cosyhost.config import Config
from cosyhost.errors import QUEUE_UNAVAILABLE, Problem

TASK = "cosyhost.speak"
QUEUE = "speech"


class Broker:
    """The Celery app, with the settings that lost nothing when things were killed."""

    def __init__(self, config: Config, password: str | None) -> None:
        limit_s = config.jobs.time_limit_s
        transport = {
            "visibility_timeout": limit_s + 60,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "socket_timeout": 5,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
            "health_check_interval": 5,
        }
        self.app = Celery("cosyhost", broker=_with_password(config.redis.url, password))
        self.app.conf.update(
            task_default_queue=QUEUE,
            task_ignore_result=True,
            task_acks_late=True,
            task_reject_on_worker_lost=True,
            worker_prefetch_multiplier=1,
            task_time_limit=limit_s,
            task_soft_time_limit=limit_s - 10,
            # A child that loads its model for longer than the default 4 s is killed in a loop.
            worker_proc_alive_timeout=300,
            broker_connection_retry_on_startup=True,
            broker_connection_max_retries=None,
            broker_transport_options=transport,
            worker_hijack_root_logger=False,
            worker_send_task_events=False,
        )

    def publish(self, job_id: str) -> None:
        """Tell a worker to look at the job.

        Raises:
            Problem: QUEUE_UNAVAILABLE.
        """
        try:
            self.app.send_task(TASK, args=[job_id], task_id=job_id, retry=False)
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
