"""Finds jobs that were lost on their way, and publishes them again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import msgspec
import redis

from cosyhost.jobs import keys
from cosyhost.jobs.broker import QUEUE, Broker
from cosyhost.jobs.ledger import Ledger

# How long a queued job may be unseen in the broker before it counts as lost; a publish takes ms.
UNSEEN_S = 5


class Healer:
    """Brings ledger and broker together again after either lost something."""

    def __init__(self, client: redis.Redis, ledger: Ledger, broker: Broker) -> None:
        self._redis = client
        self._ledger = ledger
        self._broker = broker

    def heal(self) -> int:
        """Publish again what was lost; returns how many. One host at a time does it."""
        if not self._redis.set(keys.HEALING, "1", nx=True, ex=UNSEEN_S):
            return 0
        lost = [
            job_id
            for job_id, owner in self._expired_leases()
            if self._ledger.release(job_id, owner)
        ]
        lost += [job_id for job_id in self._unseen() if job_id not in lost]
        for job_id in lost:
            self._broker.publish(job_id)
        return len(lost)

    def _expired_leases(self) -> Iterator[tuple[str, str]]:
        """Jobs whose worker fell silent, with that worker's name."""
        now = self._ledger.now()
        gone = cast(list[bytes], self._redis.zrangebyscore(keys.LEASES, 0, now))
        for job_id in (raw.decode() for raw in gone):
            owner = cast(bytes, self._redis.hget(keys.job(job_id), "owner"))
            if owner is None:  # the ledger forgot the job; so must the lease
                self._redis.zrem(keys.LEASES, job_id)
            else:
                yield job_id, owner.decode()

    def _unseen(self) -> list[str]:
        """Queued jobs that have no message in the broker: neither queued nor delivered."""
        before = self._ledger.now() - UNSEEN_S
        waiting = cast(list[bytes], self._redis.zrangebyscore(keys.WAITING, 0, before))
        old = {raw.decode() for raw in waiting}
        if not old:
            return []
        messages = cast(list[bytes], self._redis.lrange(QUEUE, 0, -1))
        seen = {msgspec.json.decode(raw)["headers"]["id"] for raw in messages}
        for raw in cast(list[bytes], self._redis.hvals("unacked")):
            seen.add(msgspec.json.decode(raw)[0]["headers"]["id"])
        return sorted(old - seen)
