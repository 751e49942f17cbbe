"""The connection to Redis that ledger and stream use."""

from __future__ import annotations

import redis

from cosyhost.config import Config


def connect(config: Config, password: str | None) -> redis.Redis:
    """A client for the ledger that gives up rather than hangs."""
    return redis.Redis.from_url(
        config.redis.url,
        password=password,
        socket_timeout=5,
        socket_connect_timeout=3,
        health_check_interval=5,
    )
