"""What a worker tells systemd and the other hosts, when it is well and when it is not."""

from __future__ import annotations

import itertools
import os
import signal
import time

from tests.faults.conftest import Deploy, Deployment, Notices
from tests.unit.service.conftest import eventually

# The supervisor's longest patience, and a good deal more.
PATIENCE_S = 100


def test_a_worker_is_ready_once_its_engine_answers(deploy: Deploy, notices: Notices) -> None:
    deployment = deploy(children=1)
    job = deployment.submit("early")
    deployment.worker(NOTIFY_SOCKET=str(notices.path), COSYHOST_TEST_LOAD_S="3")
    eventually(lambda: notices.has("STATUS=loading model (1 s)"), "the status while it loads")
    unit = deployment.fleet.unit(deployment.fleet.units()[0].name)
    assert unit is not None
    assert (unit.state, unit.children) == ("loading", 0)
    assert not notices.has("READY=1")
    assert deployment.status(job).state == "queued"
    eventually(lambda: notices.has("READY=1"), "READY=1")
    assert deployment.ended(job).state == "done"
    eventually(lambda: deployment.fleet.units()[0].state == "ready", "the state")


def test_a_worker_whose_engine_does_not_load_ends_and_says_so(deploy: Deploy) -> None:
    deployment = deploy()
    (deployment.notes / "broken").touch()
    assert deployment.worker().wait(60) == os.EX_UNAVAILABLE
    (unit,) = deployment.fleet.units()
    assert (unit.state, unit.problem) == ("failed", "engine_failed")
    deployment.worker(COSYHOST_TEST_LOAD_S="3")
    eventually(lambda: deployment.fleet.units()[0].for_s < 3, "the next worker")
    assert deployment.fleet.units()[0].state == "failed"
    (deployment.notes / "broken").unlink()
    deployment.ready()
    eventually(lambda: deployment.fleet.units()[0].state == "ready", "the state")


def test_the_watchdog_starves_when_the_parent_stands_still(
    deploy: Deploy, notices: Notices
) -> None:
    deployment = deploy()
    worker = deployment.worker(NOTIFY_SOCKET=str(notices.path))
    deployment.ready()
    began = time.monotonic()
    eventually(lambda: notices.fed_since(began) > 1, "the watchdog to be fed")
    worker.send_signal(signal.SIGSTOP)
    time.sleep(1)
    stopped = time.monotonic()
    time.sleep(4)
    assert notices.fed_since(stopped) == 0


def test_the_watchdog_starves_when_the_consumer_stands_still(
    deploy: Deploy, notices: Notices
) -> None:
    deployment = deploy()
    deployment.worker(NOTIFY_SOCKET=str(notices.path))
    deployment.ready()
    (deployment.notes / "wedge").touch()
    eventually(lambda: "UNWELL" in notices.status, "the worker to feel unwell", PATIENCE_S)
    unwell = time.monotonic()
    time.sleep(4)
    assert notices.fed_since(unwell) == 0
    assert "the consumer gave no sign of life" in deployment.logged()


def test_redis_that_is_away_does_not_starve_the_watchdog(deploy: Deploy, notices: Notices) -> None:
    deployment = deploy()
    worker = deployment.worker(NOTIFY_SOCKET=str(notices.path))
    deployment.ready()
    children = deployment.children()
    deployment.stop_redis()
    away = time.monotonic()
    time.sleep(60)  # longer than the consumer may be silent
    fed = [at for at, line in notices.seen if line == "WATCHDOG=1" and at > away]
    assert max(b - a for a, b in itertools.pairwise(fed)) < 20
    deployment.start_redis()
    assert deployment.ended(deployment.submit("after")).state == "done"
    assert worker.poll() is None
    assert set(deployment.children()) == set(children)
    time.sleep(5)
    assert "UNWELL" not in notices.status


def test_workers_take_only_what_their_engine_can_do(deploy: Deploy) -> None:
    deployment = deploy()
    deployment.worker(COSYHOST_TEST_MODES="zero_shot")
    deployment.ready()
    assert deployment.fleet.modes() == frozenset({"zero_shot"})
    cannot, can = deployment.submit("a", "instruct"), deployment.submit("b", "zero_shot")
    assert deployment.ended(can).state == "done"
    assert deployment.status(cannot).state == "queued"
    deployment.worker("1", COSYHOST_TEST_MODES="instruct,cross_lingual")
    assert deployment.ended(cannot).state == "done"
    eventually(lambda: len(deployment.fleet.modes() or ()) == 3, "all modes")


def test_a_stopped_worker_says_that_it_stops(deploy: Deploy, notices: Notices) -> None:
    deployment = deploy()
    worker = deployment.worker(NOTIFY_SOCKET=str(notices.path))
    deployment.ready()
    job = deployment.submit("slow")
    deployment.owner(job)
    worker.terminate()
    eventually(lambda: notices.has("STOPPING=1"), "STOPPING=1")
    eventually(lambda: deployment.fleet.units()[0].state == "stopping", "the state")
    assert worker.wait(30) == 0
    assert deployment.status(job).state == "done"


def test_a_loading_worker_stops_when_told_to(deploy: Deploy) -> None:
    deployment: Deployment = deploy()
    worker = deployment.worker(COSYHOST_TEST_LOAD_S="25")
    eventually(lambda: list(deployment.notes.glob("gpu*")) or deployment.fleet.units(), "a start")
    time.sleep(1)
    worker.terminate()
    assert worker.wait(15) == 0
