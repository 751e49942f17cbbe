"""A prompt and a text go in through nginx, and audio comes out, on each tier."""

from __future__ import annotations

import time

import pytest

from tests import prompts
from tests.e2e import voice
from tests.e2e.conftest import SUITES
from tests.e2e.tier import Tier


@pytest.mark.parametrize("tier", SUITES, indirect=True)
@pytest.mark.parametrize("response_format", ["wav", "flac", "mp3", "opus"])
def test_a_text_is_spoken(tier: Tier, response_format: str, prompt: bytes) -> None:
    with tier.client() as client:
        answer = voice.speak(client, prompt, response_format=response_format)
    assert "preview" in answer.headers["X-CosyHost-Engine"]
    assert "queue;dur=" in answer.headers["Server-Timing"]
    assert voice.plausible(voice.seconds(answer.content), len(voice.TEXT))


def test_a_stored_voice_speaks_and_can_be_removed(lan: Tier, prompt: bytes) -> None:
    fields = {"name": "小红 one", "ref_text": prompts.TRANSCRIPT, "consent": "test"}
    with lan.client() as client:
        made = client.post(
            "/v1/audio/voices", data=fields, files={"audio_sample": ("p.wav", prompt)}
        )
        assert made.status_code == 200, made.text
        assert "小红 one" in client.get("/v1/audio/voices").json()["voices"]
        answer = client.post("/v1/audio/speech", json={"input": voice.TEXT, "voice": "小红 one"})
        assert voice.plausible(voice.seconds(answer.content), len(voice.TEXT))
        assert client.delete("/v1/audio/voices/小红 one").status_code == 200
        assert "小红 one" not in client.get("/v1/audio/voices").json()["voices"]


def test_audio_arrives_while_the_job_still_runs(lan: Tier, prompt: bytes) -> None:
    body = voice.request(prompt, input=voice.LONG_TEXT)
    with (
        lan.client() as client,
        lan.client() as other,
        client.stream("POST", "/v1/audio/speech", json=body) as answer,
    ):
        assert "content-length" not in answer.headers
        parts = answer.iter_raw()
        pieces = [next(parts)]
        job = other.get(f"/v1/jobs/{answer.headers['X-CosyHost-Job']}").json()
        assert job["state"] == "running", job
        pieces += parts
    assert len(pieces) > 10
    assert voice.plausible(voice.seconds(b"".join(pieces)), len(voice.LONG_TEXT))


def test_a_finished_job_can_be_asked_for(lan: Tier, prompt: bytes) -> None:
    with lan.client() as client:
        spoken = voice.speak(client, prompt)
        job = client.get(f"/v1/jobs/{spoken.headers['X-CosyHost-Job']}").json()
        again = client.get(f"/v1/jobs/{job['id']}/audio")
    assert job["state"] == "done", job
    assert job["preview"] is True
    assert voice.seconds(again.content) == pytest.approx(voice.seconds(spoken.content), abs=0.01)


def test_the_first_audio_is_timed(lan: Tier, prompt: bytes) -> None:
    """No bound is held here: the machine may be busy. `make bench BENCH=speech` measures."""
    with lan.client() as client:
        began = time.monotonic()
        body = voice.request(prompt, response_format="pcm")
        with client.stream("POST", "/v1/audio/speech", json=body) as answer:
            next(answer.iter_raw())
            print(f"first audio of {len(voice.TEXT)} characters: {time.monotonic() - began:.2f} s")
            answer.read() if not answer.is_stream_consumed else None
