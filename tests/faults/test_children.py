"""A child that dies or hangs costs itself alone: its job is spoken by another, or ends clearly."""

from __future__ import annotations

import os
import signal

import pytest

from cosyhost.jobs import ENDED
from tests.faults.conftest import Deploy, Deployment, alive
from tests.unit.service.conftest import eventually


def test_a_killed_child_loses_nothing(deployment: Deployment) -> None:
    others = [deployment.submit("slow") for _ in range(3)]
    job = deployment.submit("slow once")
    os.kill(deployment.owner(job), signal.SIGKILL)
    status = deployment.ended(job)
    assert (status.state, status.attempts) == ("done", 2)
    assert [deployment.ended(other).state for other in others] == ["done"] * 3
    deployment.ready()


def test_a_job_that_broke_off_goes_before_those_that_wait(deploy: Deploy) -> None:
    deployment = deploy(children=1)
    deployment.worker()
    deployment.ready(1)
    job = deployment.submit("slow once")
    victim = deployment.owner(job)
    waiting = [deployment.submit(f"slow {number}") for number in range(3)]
    os.kill(victim, signal.SIGKILL)
    broke_off = deployment.ended(job)
    assert broke_off.attempts == 2
    ahead = [deployment.ended(other).started < broke_off.started for other in waiting]  # type: ignore[operator]
    # The new child may have taken the one next in line before the loss was noticed.
    assert sum(ahead) <= 1


def test_a_crashing_engine_ends_its_child_only(deployment: Deployment) -> None:
    job = deployment.submit("crash once")
    assert (deployment.ended(job).state, deployment.status(job).attempts) == ("done", 2)
    assert "Segmentation fault" in deployment.logged()
    deployment.ready()


def test_a_job_that_always_crashes_ends_with_its_reason(deployment: Deployment) -> None:
    status = deployment.ended(deployment.submit("crash"))
    assert (status.state, status.attempts) == ("failed", 3)
    assert status.problem is not None
    assert status.problem.kind.code == "job_failed_repeatedly"


def test_a_job_over_its_soft_limit_tells_its_client(deployment: Deployment) -> None:
    status = deployment.ended(deployment.submit("patient"))
    assert (status.state, status.attempts) == ("failed", 1)
    assert status.problem is not None
    assert status.problem.kind.code == "job_timeout"
    assert deployment.ended(deployment.submit("next")).state == "done"


@pytest.mark.parametrize("how", ["hang", "hold"])
def test_a_hung_child_is_ended_and_its_job_spoken(deployment: Deployment, how: str) -> None:
    job = deployment.submit(f"{how} once")
    hung = deployment.owner(job)
    status = deployment.ended(job)
    assert (status.state, status.attempts) == ("done", 2)
    assert not alive(hung)
    deployment.ready()


def test_a_hung_child_is_ended_though_celery_forgot_its_limit(deployment: Deployment) -> None:
    job = deployment.submit("hang once")
    hung = deployment.owner(job)
    # Celery clears its timers when a connection breaks, those of the limits with them.
    deployment.client.client_kill_filter(_type="normal", skipme=True)
    status = deployment.ended(job)
    assert (status.state, status.attempts) == ("done", 2)
    assert not alive(hung)
    ended = f"a child is ended: its job went on beyond its limit child={hung}"
    assert ended in deployment.logged()


def test_an_idle_child_that_stands_still_is_replaced(deployment: Deployment) -> None:
    stopped = deployment.children()
    for child in stopped:
        os.kill(child, signal.SIGSTOP)
    job = deployment.submit("after")
    assert deployment.ended(job).state == "done"
    eventually(lambda: not any(map(alive, stopped)), "the end of the children that stood still")
    assert deployment.logged().count("is ended: it gave no sign of life") == 2


def test_a_killed_worker_takes_its_children_along(deployment: Deployment) -> None:
    job = deployment.submit("slow once")
    child = deployment.owner(job)
    (first,) = deployment._processes
    first.kill()
    first.wait()
    eventually(lambda: not alive(child), "the end of the child")
    deployment.worker()
    status = deployment.ended(job)
    assert (status.state, status.attempts) == ("done", 2)
    deployment.ready()  # the dead children are not counted any more


def test_a_stopped_worker_finishes_its_jobs(deployment: Deployment) -> None:
    job = deployment.submit("slow")
    deployment.owner(job)
    (first,) = deployment._processes
    first.terminate()
    assert first.wait(30) == 0
    status = deployment.status(job)
    assert (status.state, status.attempts) == ("done", 1)
    assert deployment.ledger.workers() == 0


def test_recycled_children_lose_nothing_and_never_leave_together(deploy: Deploy) -> None:
    deployment = deploy(recycle_after_jobs=2)
    deployment.worker(COSYHOST_TEST_LOAD_S="0.5")
    deployment.ready()
    first, fewest = set(deployment.children()), 2
    ours = [deployment.submit(f"slow {number}") for number in range(8)]
    while any(deployment.status(job).state not in ENDED for job in ours):
        fewest = min(fewest, deployment.ledger.workers())
    assert [deployment.status(job).state for job in ours] == ["done"] * 8
    eventually(lambda: not first & set(deployment.children()), "the successors")
    assert fewest >= 1


def test_a_lost_engine_takes_its_process_along(deployment: Deployment) -> None:
    before = set(deployment.children())
    status = deployment.ended(deployment.submit("lost once"))
    assert (status.state, status.attempts) == ("done", 2)
    eventually(lambda: len(set(deployment.children()) - before) == 1, "the successor")


def test_a_cancelled_job_frees_its_child_before_it_has_sound(deployment: Deployment) -> None:
    jobs = [deployment.submit(f"empty {number}") for number in range(2)]
    for job in jobs:
        deployment.owner(job)
        deployment.ledger.cancel(job.id)
    assert deployment.ended(deployment.submit("next")).state == "done"


def test_out_of_memory_is_tried_again_alone(deployment: Deployment) -> None:
    for number in range(3):
        deployment.submit(f"slow {number}")
    job = deployment.submit("memory once")
    for number in range(3, 6):
        deployment.submit(f"slow {number}")
    status = deployment.ended(job)
    assert (status.state, status.attempts) == ("done", 1)
    eventually(lambda: deployment.ledger.depth() == (0, 0), "the others")
    lines = [line.split(" ", 2) for line in (deployment.notes / "log").read_text().splitlines()]
    begins = [float(at) for at, what, who in lines if what == "begin" and "memory" in who]
    (end,) = (float(at) for at, what, who in lines if what == "end" and "memory" in who)
    assert len(begins) == 2
    others = {who: [0.0, 0.0] for _, _, who in lines if "slow" in who}
    for at, what, who in lines:
        if who in others:
            others[who][what == "end"] = float(at)
    assert not [w for w, (began, ended) in others.items() if began < end and ended > begins[1]]


def test_out_of_memory_alone_too_is_a_clear_error(deployment: Deployment) -> None:
    status = deployment.ended(deployment.submit("memory"))
    assert (status.state, status.attempts) == ("failed", 1)
    assert status.problem is not None
    assert status.problem.kind.code == "engine_out_of_memory"


def test_the_gpu_is_pinned_before_a_child_loads(deployment: Deployment) -> None:
    deployment.worker("GPU-5f1c")
    deployment.ready(4)
    seen = [(deployment.notes / f"gpu {pid}").read_text() for pid in deployment.children()]
    assert sorted(seen) == ["0", "0", "GPU-5f1c", "GPU-5f1c"]
