"""Finds jobs that were lost on their way, and publishes them again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import msgspec
import redis

from cosyhost.jobs import keys
from cosyhost.jobs.broker import Broker, lists
from cosyhost.jobs.ledger import Ledger

# How long a queued job may be unseen in the broker before it counts as lost; a publish takes ms.
UNSEEN_S = 5
# How long a delivered job may be unclaimed before its worker counts as stuck. Also a job that waits
# for the one child of a worker goes to another worker then.
_UNCLAIMED_S = 30


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
        return self._publish(lost)

    def heal_after(self, is_dead: Callable[[str], bool]) -> int:
        """Publish again what workers had that are known to be dead; returns how many jobs.

        Faster than to wait for their leases: who shares a host with them can tell at once.
        """
        everybody = cast(list[bytes], self._redis.zrange(keys.WORKERS, 0, -1))
        for owner in filter(is_dead, (raw.decode() for raw in everybody)):
            self._ledger.leave(owner)
        leased = cast(list[bytes], self._redis.zrange(keys.LEASES, 0, -1))
        lost = []
        for job_id in (raw.decode() for raw in leased):
            raw = cast("bytes | None", self._redis.hget(keys.job(job_id), "owner"))
            owner = "" if raw is None else raw.decode()
            if owner and is_dead(owner) and self._ledger.release(job_id, owner):
                lost.append(job_id)
        return self._publish(lost)

    def _publish(self, job_ids: list[str]) -> int:
        jobs = [job for job in map(self._ledger.spec, job_ids) if job is not None]
        for job in jobs:
            self._broker.publish(job, again=True)
        return len(jobs)

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
        """Queued jobs with no message in the broker: neither queued nor lately delivered."""
        before = self._ledger.now() - UNSEEN_S
        waiting = cast(list[bytes], self._redis.zrangebyscore(keys.WAITING, 0, before))
        old = {raw.decode() for raw in waiting}
        if not old:
            return []
        seen = set()
        for name in lists():
            for raw in cast(list[bytes], self._redis.lrange(name, 0, -1)):
                seen.add(msgspec.json.decode(raw)["headers"]["id"])
        since = self._ledger.now() - _UNCLAIMED_S
        tags = cast(list[bytes], self._redis.zrangebyscore("unacked_index", since, "+inf"))
        for raw in cast(list[bytes], self._redis.hmget("unacked", tags)) if tags else []:
            if raw is not None:
                seen.add(msgspec.json.decode(raw)[0]["headers"]["id"])
        return sorted(old - seen)
