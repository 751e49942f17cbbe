"""Every query of every dashboard is answered by the tier's own Prometheus, under load."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e import voice
from tests.e2e.tier import Tier, front_door
from tests.prometheus import Prometheus
from tests.questions import questions

# What is recorded of three days is recorded every five minutes.
PATIENCE_S = 400


@pytest.fixture(scope="module")
def server(lan: Tier) -> Iterator[Prometheus]:
    """The tier's Prometheus, through SSH: it listens on loopback only."""
    with (
        front_door(lan.host, "127.0.0.1:9090") as url,
        httpx.Client(base_url=url, timeout=30) as http,
    ):
        yield Prometheus(http)


def test_every_question_that_any_host_can_answer_is_answered(
    lan: Tier, server: Prometheus, prompt: bytes
) -> None:
    left = [question for question in questions() if not question.needs]
    deadline = time.monotonic() + PATIENCE_S
    with lan.client() as client:
        while left := [question for question in left if not server.ask(question.filled)]:
            assert time.monotonic() < deadline, "\n".join(["no answer:", *map(str, left)])
            voice.speak(client, prompt, response_format="opus")
            refused = client.post("/v1/audio/speech", json=voice.request(prompt, input=""))
            assert refused.status_code == 422
            time.sleep(3)


def test_the_others_are_understood_at_least(server: Prometheus) -> None:
    others = [question for question in questions() if question.needs]
    assert others
    for question in others:
        server.ask(question.filled)
