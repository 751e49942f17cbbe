"""Two tiers side by side do not meet."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.e2e import voice
from tests.e2e.tier import Tier


def test_jobs_on_both_tiers_at_once_each_get_their_own_audio(
    lan: Tier, local: Tier, prompt: bytes
) -> None:
    tiers = {"local": local, "lan": lan}
    texts = {"local": voice.TEXT, "lan": voice.TEXT * 2}

    def speak(name: str) -> httpx.Response:
        with tiers[name].client() as client:
            return voice.speak(client, prompt, input=texts[name], seed=1)

    with ThreadPoolExecutor(2 * len(texts)) as pool:
        answers = list(pool.map(speak, [*texts, *texts]))
    for name, answer in zip([*texts, *texts], answers, strict=True):
        assert voice.plausible(voice.seconds(answer.content), len(texts[name]))


def test_a_job_of_one_tier_is_unknown_on_another(lan: Tier, local: Tier, prompt: bytes) -> None:
    with lan.client() as ours, local.client() as theirs:
        job = voice.speak(ours, prompt).headers["X-CosyHost-Job"]
        answer = theirs.get(f"/v1/jobs/{job}")
        assert answer.status_code == 404
        assert answer.json()["code"] == "job_unknown"


def test_one_tier_down_leaves_the_other_up(lan: Tier, local: Tier) -> None:
    local.host.run("systemctl", "stop", "nginx")
    try:
        with lan.client() as client:
            assert client.get("/readyz").status_code == 200
    finally:
        local.host.run("systemctl", "start", "nginx")
