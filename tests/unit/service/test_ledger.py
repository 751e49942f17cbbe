"""The ledger: a job is run once, is never lost, and ends once."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import redis

from cosyhost import jobs, worker
from cosyhost.config import Config
from cosyhost.errors import ENGINE_FAILED, Problem
from cosyhost.jobs import Broker, Healer, Job, Ledger
from cosyhost.jobs.broker import lists
from cosyhost.jobs.job import TITLE_CHARS


def job(text: str = "你好") -> Job:
    return Job(id=jobs.new_job_id(), mode="cross_lingual", text=text, prompt="0" * 64)


@pytest.fixture
def alone(client: redis.Redis) -> Iterator[redis.Redis]:
    """A Redis database no service looks at."""
    url = client.connection_pool.connection_kwargs
    other = redis.Redis(port=url["port"], db=1)
    other.flushdb()
    yield other
    other.flushdb()


@pytest.fixture
def ledger(alone: redis.Redis) -> Ledger:
    return Ledger(alone, waiting_limit=3, keep_s=60)


def test_a_job_is_claimed_once(ledger: Ledger) -> None:
    ours = job()
    assert ledger.submit(ours) == 0
    assert ledger.claim(ours.id, "a") == (ours, 1)
    assert ledger.claim(ours.id, "b") == "running:a"
    assert ledger.finish(ours.id, "a", "done", audio_s=1.5)
    assert ledger.claim(ours.id, "b") == "done"
    assert ledger.status(ours.id).audio_s == 1.5


def test_the_queue_is_full_at_its_limit(ledger: Ledger) -> None:
    assert [ledger.submit(job()) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(Problem) as refused:
        ledger.submit(job())
    assert refused.value.kind.code == "queue_full"
    assert refused.value.retry_after_s is not None


def test_places_in_the_queue_move_up(ledger: Ledger) -> None:
    first, second = job(), job()
    ledger.submit(first)
    ledger.submit(second)
    assert ledger.status(second.id).position == 2
    ledger.claim(first.id, "a")
    assert ledger.status(second.id).position == 1
    assert ledger.status(first.id).position is None


def test_only_the_owner_renews_and_ends_a_job(ledger: Ledger) -> None:
    ours = job()
    ledger.submit(ours)
    ledger.claim(ours.id, "a")
    assert ledger.renew(ours.id, "a")
    assert not ledger.renew(ours.id, "b")
    assert not ledger.finish(ours.id, "b", "done")
    assert ledger.status(ours.id).state == "running"


def test_a_cancelled_job_stays_cancelled(ledger: Ledger) -> None:
    ours = job()
    ledger.submit(ours)
    ledger.claim(ours.id, "a")
    assert ledger.cancel(ours.id)
    assert not ledger.finish(ours.id, "a", "done")
    assert ledger.status(ours.id).state == "cancelled"


def test_a_job_that_breaks_off_three_times_ends_with_its_reason(
    ledger: Ledger, alone: redis.Redis
) -> None:
    ours = job()
    ledger.submit(ours)
    for attempt in (1, 2, 3):
        assert ledger.claim(ours.id, f"w{attempt}") == (ours, attempt)
        assert ledger.release(ours.id, f"w{attempt}")
    assert ledger.claim(ours.id, "w4") == "failed"
    problem = ledger.status(ours.id).problem
    assert problem is not None
    assert problem.kind.code == "job_failed_repeatedly"
    assert problem.figures == {"attempts": 3}
    assert alone.zcard("jobs:dead") == 1


def test_of_an_ended_job_only_the_title_is_left(ledger: Ledger, alone: redis.Redis) -> None:
    ours = job("x" * TITLE_CHARS + "a secret sentence")
    ledger.submit(ours)
    ledger.claim(ours.id, "a")
    ledger.fail(ours.id, "a", Problem(ENGINE_FAILED, reason="x"))
    assert ledger.status(ours.id).title == "x" * TITLE_CHARS
    assert not any(b"secret" in value for value in alone.hvals(f"job:{ours.id}"))


def test_an_unknown_job_is_a_problem(ledger: Ledger) -> None:
    with pytest.raises(Problem) as refused:
        ledger.status("nothing")
    assert refused.value.kind.code == "job_unknown"


@pytest.fixture
def broker(config: Config, alone: redis.Redis) -> Broker:
    url = config.redis.url.removesuffix("/0") + "/1"
    other = msgspec.structs.replace(config, redis=msgspec.structs.replace(config.redis, url=url))
    return Broker(other, None)


@pytest.fixture
def healer(alone: redis.Redis, ledger: Ledger, broker: Broker) -> Healer:
    return Healer(alone, ledger, broker)


def test_a_job_whose_message_was_lost_is_published_again(
    ledger: Ledger, alone: redis.Redis, broker: Broker, healer: Healer
) -> None:
    lost, queued = job(), job()
    for one in (lost, queued):
        ledger.submit(one)
        alone.zincrby("jobs:waiting", -60, one.id)
    broker.publish(queued)
    assert healer.heal() == 1
    messages = [msgspec.json.decode(raw) for name in lists() for raw in alone.lrange(name, 0, -1)]
    assert {message["headers"]["id"] for message in messages} == {lost.id, queued.id}
    alone.delete("jobs:healing")
    assert healer.heal() == 0


@pytest.mark.parametrize(("delivered_ago_s", "healed"), [(5, 0), (60, 1)])
def test_a_job_delivered_to_a_worker_that_never_begins_it_is_published_again(
    ledger: Ledger, alone: redis.Redis, broker: Broker, healer: Healer,
    delivered_ago_s: int, healed: int,
) -> None:  # fmt: skip
    ours = job()
    ledger.submit(ours)
    alone.zincrby("jobs:waiting", -60, ours.id)
    broker.publish(ours)
    popped: list[Any] = [alone.lpop(name) for name in lists()]
    (raw,) = [raw for raw in popped if raw is not None]
    # As kombu keeps what it has delivered and nobody has acknowledged.
    alone.hset("unacked", "tag", msgspec.json.encode([msgspec.json.decode(raw), "", ""]))
    alone.zadd("unacked_index", {"tag": time.time() - delivered_ago_s})
    assert healer.heal() == healed
    assert sum(alone.llen(name) for name in lists()) == healed


def test_who_shares_the_host_puts_a_dead_workers_jobs_back_at_once(
    ledger: Ledger, alone: redis.Redis, broker: Broker, healer: Healer
) -> None:
    lost, running, waiting = job(), job(), job()
    for one in (lost, running, waiting):
        ledger.submit(one)
    broker.publish(waiting)
    ledger.claim(lost.id, "dead")
    ledger.claim(running.id, "alive")
    ledger.beat("dead")
    ledger.beat("alive")
    assert healer.heal_after(lambda owner: owner == "dead") == 1
    assert ledger.workers() == 1
    assert ledger.claim(running.id, "b") == "running:alive"
    # It is the first to be taken: workers ask the lists in the order of priority.
    again = msgspec.json.decode(alone.lrange("speech.cross_lingual", 0, -1)[0])
    assert again["headers"]["id"] == lost.id
    assert again["headers"]["timelimit"] == [8, 6]


def test_a_job_whose_worker_fell_silent_goes_back_to_the_queue(
    ledger: Ledger, alone: redis.Redis, healer: Healer
) -> None:
    ours = job()
    ledger.submit(ours)
    ledger.claim(ours.id, "gone")
    assert healer.heal() == 0
    alone.delete("jobs:healing")
    alone.zincrby("jobs:leases", -60, ours.id)
    assert healer.heal() == 1
    assert ledger.claim(ours.id, "b") == (ours, 2)


def test_a_redis_that_is_away_is_a_problem_not_a_crash() -> None:
    away = Ledger(redis.Redis(port=1), waiting_limit=1, keep_s=1)
    with pytest.raises(Problem) as refused:
        away.submit(job())
    assert refused.value.kind.code == "queue_unavailable"


def test_a_dead_process_of_this_host_is_known_to_be_dead() -> None:
    child = subprocess.Popen(["sleep", "60"])
    name = worker.process_name(child.pid)
    assert not worker.is_dead_here(name)
    child.kill()
    child.wait()
    assert worker.is_dead_here(name)
    assert not worker.is_dead_here(worker.process_name(os.getpid()))
    assert not worker.is_dead_here("elsewhere/boot/1/1")
