"""restart.yml in the middle of work: nothing is lost."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.e2e import voice
from tests.e2e.tier import Tier

JOBS = 6


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
