"""The ledger: a job is run once, is never lost, and ends once."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import redis

from cosyhost import jobs, worker
from cosyhost.config import Config
from cosyhost.errors import ENGINE_FAILED, Problem
from cosyhost.jobs import AudioWriter, Broker, Healer, Job, Ledger
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


def test_each_end_leaves_one_record_for_who_counts(ledger: Ledger, alone: redis.Redis) -> None:
    done, failed, cancelled, dead = jobs_ = [job() for _ in range(4)]
    for ours in jobs_[:3]:
        ledger.submit(ours)
    for ours in (done, failed):
        ledger.claim(ours.id, "a", engine="espeak", preview=1)
    assert ledger.take_ended() == ([], {})
    ledger.finish(done.id, "a", "done", audio_s=1.5, encode_s=0.25)
    ledger.fail(failed.id, "a", Problem(ENGINE_FAILED, reason="x"))
    ledger.cancel(cancelled.id)
    for ours in jobs_[:3]:  # the first end was the only one
        assert not ledger.cancel(ours.id)
        assert not ledger.finish(ours.id, "a", "done")
    ledger.submit(dead)
    for attempt in ("1", "2", "3"):
        ledger.claim(dead.id, attempt)
        ledger.release(dead.id, attempt)
    for _ in range(2):
        assert ledger.claim(dead.id, "4") == "failed"
    ended, spoken = ledger.take_ended()
    assert [one.state for one in ended] == ["done", "failed", "cancelled", "failed"]
    first = ended[0]
    assert (first.mode, first.engine, first.preview) == ("cross_lingual", "espeak", True)
    assert (first.audio_s, first.encode_s) == (1.5, 0.25)
    assert first.started is not None
    assert first.created < first.started <= first.finished
    assert (ended[2].engine, ended[2].started, ended[2].audio_s) == ("", None, None)
    assert spoken == {}
    assert ledger.take_ended() == ([], {})


def test_of_many_who_take_each_record_goes_to_one(ledger: Ledger) -> None:
    taken: list[int] = []
    over = threading.Event()

    def take() -> None:
        while not over.is_set():
            taken.append(len(ledger.take_ended()[0]))

    takers = [threading.Thread(target=take) for _ in range(4)]
    for taker in takers:
        taker.start()
    for _ in range(100):
        ours = job()
        ledger.submit(ours)
        ledger.cancel(ours.id)
    over.set()
    for taker in takers:
        taker.join()
    assert sum(taken) + len(ledger.take_ended()[0]) == 100


def test_records_that_nobody_takes_are_bounded(ledger: Ledger, alone: redis.Redis) -> None:
    alone.rpush("jobs:ended", *(["{}"] * 10_000))
    ours = job()
    ledger.submit(ours)
    ledger.cancel(ours.id)
    assert alone.llen("jobs:ended") == 10_000
    assert b"cancelled" in alone.lrange("jobs:ended", -1, -1)[0]


def test_what_is_spoken_adds_up_by_engine_until_it_is_taken(
    ledger: Ledger, alone: redis.Redis
) -> None:
    for engine in ("one", "two", "one"):
        ours = job()
        ledger.submit(ours)
        ledger.claim(ours.id, "a", engine=engine, preview=0)
        with AudioWriter(alone, ours.id, 1, 1000) as stream:
            assert stream.write(bytes(500))
            assert stream.write(bytes(1500))
    ended, spoken = ledger.take_ended()
    assert ended == []
    assert spoken == pytest.approx({"one": 2.0, "two": 1.0})
    assert ledger.take_ended() == ([], {})


def test_the_oldest_that_waits_is_known(ledger: Ledger, alone: redis.Redis) -> None:
    assert ledger.oldest_wait_s() == 0
    first, second = job(), job()
    ledger.submit(first)
    ledger.submit(second)
    alone.zincrby("jobs:waiting", -60, first.id)
    assert 60 <= ledger.oldest_wait_s() < 70
    ledger.claim(first.id, "a")
    assert ledger.oldest_wait_s() < 10


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
