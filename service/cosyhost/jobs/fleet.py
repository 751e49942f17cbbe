"""The workers as they say they are: which modes they can do, and in what state they are."""

from __future__ import annotations

import time
from typing import Literal, cast

import msgspec
import redis

from cosyhost.errors import QUEUE_UNAVAILABLE, Problem
from cosyhost.jobs import keys
from cosyhost.jobs.ledger import LEASE_S

UnitState = Literal["loading", "ready", "stopping", "failed"]
UNIT_STATES: tuple[UnitState, ...] = ("loading", "ready", "stopping", "failed")
# How long an answer to `modes` may be old: a request must not cost a round trip for it.
_FRESH_S = 1.0


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process with its children.

    `for_s` is how long it has been in this state, in seconds. `failed` means that its engine did
    not load, for the reason `problem` (a code), and that it is being tried again.
    """

    name: str
    state: UnitState
    for_s: float
    children: int
    modes: frozenset[str]
    problem: str = ""


class Fleet:
    """What the workers of all hosts announced within the last seconds.

    Its methods raise QUEUE_UNAVAILABLE as a `Problem` when Redis cannot be reached.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        self._modes: tuple[float, frozenset[str] | None] = (-_FRESH_S, None)

    def announce(self, unit: Unit) -> None:
        """Say how a unit is; it holds for LEASE_S."""
        try:
            now = keys.clock(self._redis)
            pipe = self._redis.pipeline(transaction=False)
            pipe.set(keys.unit(unit.name), msgspec.json.encode(unit), ex=LEASE_S)
            pipe.zremrangebyscore(keys.UNITS, 0, now)
            pipe.zadd(keys.UNITS, {unit.name: now + LEASE_S})
            pipe.execute()
        except redis.RedisError as error:
            raise Problem(QUEUE_UNAVAILABLE, retry_after_s=5) from error

    def units(self) -> list[Unit]:
        """All units, by name; one that fell silent is listed until its lease is over."""
        try:
            names = cast("list[bytes]", self._redis.zrange(keys.UNITS, 0, -1))
            pipe = self._redis.pipeline(transaction=False)
            for name in names:
                pipe.get(keys.unit(name.decode()))
                pipe.pttl(keys.unit(name.decode()))
            answers = pipe.execute()
        except redis.RedisError as error:
            raise Problem(QUEUE_UNAVAILABLE, retry_after_s=5) from error
        found = []
        for raw, left_ms in zip(answers[::2], answers[1::2], strict=True):
            if raw is not None:
                unit = msgspec.json.decode(raw, type=Unit)
                said_ago_s = LEASE_S - left_ms / 1000
                found.append(msgspec.structs.replace(unit, for_s=unit.for_s + said_ago_s))
        return sorted(found, key=lambda unit: unit.name)

    def unit(self, name: str) -> Unit | None:
        """One unit, if it announced itself lately."""
        return next((unit for unit in self.units() if unit.name == name), None)

    def modes(self) -> frozenset[str] | None:
        """The modes that some unit can do, loading ones included; None when there is no unit."""
        asked, modes = self._modes
        if time.monotonic() - asked >= _FRESH_S:
            units = self.units()
            modes = frozenset().union(*(unit.modes for unit in units)) if units else None
            self._modes = (time.monotonic(), modes)
        return modes
