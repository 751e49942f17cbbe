"""Restarts in the middle of work, wanted and not: nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx

from cosyhost.jobs import ENDED
from tests.e2e import voice
from tests.e2e.tier import Tier

JOBS = 6
WORKER = "cosyhost-worker@0.service"


def test_jobs_survive_a_restart(lan: Tier, prompt: bytes) -> None:
    body = voice.request(prompt, input=voice.LONG_TEXT, response_format="wav")

    def speak(_: int) -> tuple[str, int]:
        """The job's id, and how many bytes were heard before the line ended."""
        heard = 0
        with lan.client() as client, client.stream("POST", "/v1/audio/speech", json=body) as answer:
            assert answer.status_code == 200, answer.read()
            try:
                for part in answer.iter_raw():
                    heard += len(part)
            except httpx.RemoteProtocolError:
                pass
            return answer.headers["X-CosyHost-Job"], heard

    with ThreadPoolExecutor(JOBS) as pool:
        spoken = pool.map(speak, range(JOBS))
        _until_at_work(lan)
        run = lan.play("restart")
        answers = list(spoken)
    assert run.rc == 0, run.tail
    with lan.client() as client:
        for job, heard in answers:
            status = client.get(f"/v1/jobs/{job}").json()
            assert status["state"] == "done", status
            whole = client.get(f"/v1/jobs/{job}/audio").content
            assert voice.plausible(voice.seconds(whole), len(voice.LONG_TEXT))
            assert heard > 44


def test_ten_presses_of_the_button_lose_nothing(lan: Tier, prompt: bytes) -> None:
    began = lan.host.run("date", "+%s").stdout.strip()
    with lan.client() as client:
        jobs = _submit(client, prompt, JOBS)
        _until_at_work(lan)
        states = set()
        for _ in range(10):
            pressed = client.post("/v1/admin/restart")
            assert pressed.status_code == 202, pressed.text
            states.add(pressed.json()["state"])
            time.sleep(0.5)

        def ready() -> bool:
            states.add(state := client.get("/v1/admin/state").json()["state"])
            return state == "ready" and all(_state(client, job) in ENDED for job in jobs)

        _eventually(ready, "the jobs and the worker", 300)
        assert [_state(client, job) for job in jobs] == ["done"] * JOBS
    assert _active(lan)
    assert "ready" in states
    assert states & {"stopping", "loading"}, states
    said = lan.host.run(
        "journalctl", "--unit=cosyhost-restart.service", f"--since=@{began}", "--output=cat"
    ).stdout
    assert 1 <= said.count("Starting") <= 4, said


def test_a_worker_that_stands_still_is_started_anew(lan: Tier, prompt: bytes) -> None:
    before = _restarts(lan)
    lan.host.run("systemctl", "kill", "--kill-whom=main", "--signal=STOP", WORKER)
    with lan.client() as client:
        (job,) = _submit(client, prompt, 1)
        _eventually(lambda: _restarts(lan) > before, "the watchdog", 120)
        _eventually(lambda: _state(client, job) == "done", "the job", 240)
    assert _active(lan)


def test_a_killed_worker_comes_back_and_its_jobs_with_it(lan: Tier, prompt: bytes) -> None:
    with lan.client() as client:
        jobs = _submit(client, prompt, 3)
        _until_at_work(lan)
        lan.host.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", WORKER)
        _eventually(lambda: all(_state(client, job) == "done" for job in jobs), "the jobs", 240)
        _eventually(lambda: client.get("/readyz").json()["workers"] == 2, "both children")


def test_systemctl_says_what_the_worker_does(lan: Tier) -> None:
    shown = lan.host.run("systemctl", "show", "--property=StatusText", WORKER).stdout.strip()
    assert shown == "StatusText=ready: 2 of 2 children"


def _submit(client: httpx.Client, prompt: bytes, count: int) -> list[str]:
    body = voice.request(prompt, input=voice.LONG_TEXT)
    answers = [client.post("/v1/jobs", json=body) for _ in range(count)]
    assert [answer.status_code for answer in answers] == [202] * count, answers[-1].text
    return [answer.json()["id"] for answer in answers]


def _state(client: httpx.Client, job: str) -> str:
    return str(client.get(f"/v1/jobs/{job}").json()["state"])


def _active(tier: Tier) -> bool:
    return tier.host.run("systemctl", "is-active", WORKER, check=False).stdout.strip() == "active"


def _restarts(tier: Tier) -> int:
    shown = tier.host.run("systemctl", "show", "--value", "--property=NRestarts", WORKER)
    return int(shown.stdout)


def _eventually(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.2)


def _until_at_work(tier: Tier) -> None:
    for _ in range(200):
        running = tier.host.run(
            "sh", "-c", "curl -s http://127.0.0.1:7860/metrics | grep '^cosyhost_jobs_running'",
            check=False,
        )  # fmt: skip
        if float(running.stdout.split()[-1] if running.stdout.split() else 0) > 0:
            return
        time.sleep(0.05)
    raise AssertionError("no job came to run")
