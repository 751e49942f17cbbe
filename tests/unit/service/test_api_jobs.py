"""Jobs after they were asked for: cancelled, forgotten, listened to again, and by whom."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import redis
import soundfile

from cosyhost.config import Config
from tests import prompts
from tests.unit.service.conftest import eventually
from tests.unit.service.test_api import LONG, TEXT, child_of, refusal, wish


@pytest.fixture
def stranger(service: httpx.Client) -> Iterator[httpx.Client]:
    """Another browser."""
    with httpx.Client(base_url=service.base_url, timeout=30) as other:
        yield other


@pytest.fixture
def browser(service: httpx.Client) -> Iterator[httpx.Client]:
    """A browser that has a name already."""
    with httpx.Client(base_url=service.base_url, timeout=30) as ours:
        ours.get("/v1/jobs")
        yield ours


def children(config: Config) -> int:
    """How many jobs this deployment speaks at once."""
    assert isinstance(config.jobs.children, int)
    return config.jobs.children


def output(config: Config, job: str) -> Path:
    """Where the store keeps what the job said."""
    return Path(config.store.url.removeprefix("file://")) / f"outputs/{job}.wav"


def known(client: redis.Redis, job: str) -> list[str]:
    """Every key of the ledger that knows of the job."""
    found = []
    for raw in client.scan_iter("job*"):
        key = bytes(raw).decode()
        if job in key or (client.type(key) == b"zset" and client.zscore(key, job) is not None):
            found.append(key)
    return found


@contextlib.contextmanager
def busy(browser: httpx.Client, client: redis.Redis, jobs: int) -> Iterator[list[str]]:
    """That many children stand still in the middle of a job each."""
    running = [browser.post("/v1/jobs", json=wish(input=LONG)).json()["id"] for _ in range(jobs)]
    children = []
    try:
        for job in running:
            eventually(functools.partial(client.hget, f"job:{job}", "owner"), "the start")
            children.append(child_of(client, job))
            os.kill(children[-1], signal.SIGSTOP)
            assert client.hget(f"job:{job}", "state") == b"running"
        yield running
    finally:
        for child in children:
            os.kill(child, signal.SIGCONT)
        for job in running:
            browser.delete(f"/v1/jobs/{job}")


def done(browser: httpx.Client, **fields: Any) -> str:
    """A job that has ended well."""
    job: str = browser.post("/v1/jobs", json=wish(**fields)).json()["id"]
    eventually(lambda: browser.get(f"/v1/jobs/{job}").json()["state"] == "done", "the job")
    return job


def test_a_forgotten_job_leaves_nothing(
    browser: httpx.Client, client: redis.Redis, config: Config
) -> None:
    job, other = done(browser), done(browser)
    assert output(config, job).exists()
    assert len(known(client, job)) >= 2
    assert browser.delete(f"/v1/jobs/{job}?forget=true").status_code == 204
    assert not output(config, job).exists()
    assert known(client, job) == []
    assert [one["id"] for one in browser.get("/v1/jobs").json()["jobs"]] == [other]
    for path in (f"/v1/jobs/{job}", f"/v1/jobs/{job}/audio"):
        assert refusal(browser.get(path))["code"] == "job_unknown"
    assert refusal(browser.delete(f"/v1/jobs/{job}?forget=true"))["code"] == "job_unknown"


def test_a_running_job_that_is_forgotten_leaves_nothing_either(
    browser: httpx.Client, client: redis.Redis, config: Config
) -> None:
    with busy(browser, client, 1) as (job,):
        assert browser.delete(f"/v1/jobs/{job}?forget=true").status_code == 204
    # The children take jobs in turn: once as many others have ended, this one has too.
    for _ in range(children(config)):
        done(browser)
    assert known(client, job) == []
    assert not output(config, job).exists()


def test_only_who_asked_for_a_job_ends_it(
    browser: httpx.Client, stranger: httpx.Client, client: redis.Redis, config: Config
) -> None:
    job = done(browser)
    for url in (f"/v1/jobs/{job}", f"/v1/jobs/{job}?forget=true"):
        answer = stranger.delete(url)
        assert (answer.status_code, refusal(answer)["code"]) == (404, "job_unknown")
    assert output(config, job).exists()
    assert browser.get(f"/v1/jobs/{job}").json()["state"] == "done"
    assert stranger.get("/v1/jobs").json()["jobs"] == []


def test_a_waiting_job_is_cancelled_and_never_spoken(
    browser: httpx.Client, stranger: httpx.Client, client: redis.Redis, config: Config
) -> None:
    with busy(browser, client, children(config)):
        waiting = browser.post("/v1/jobs", json=wish()).json()
        assert (waiting["state"], waiting["position"]) == ("queued", 1)
        assert stranger.delete(f"/v1/jobs/{waiting['id']}").status_code == 404
        cancelled = browser.delete(f"/v1/jobs/{waiting['id']}").json()
        assert (cancelled["state"], cancelled["position"]) == ("cancelled", None)
    done(browser)
    assert browser.get(f"/v1/jobs/{waiting['id']}").json()["state"] == "cancelled"
    assert not output(config, waiting["id"]).exists()


def test_a_full_queue_is_a_rate_limit_for_openais_client(
    browser: httpx.Client, client: redis.Redis, config: Config
) -> None:
    with busy(browser, client, children(config)):
        places = range(config.limits.waiting_jobs)
        waiting = [browser.post("/v1/jobs", json=wish()).json()["id"] for _ in places]
        full = browser.post("/v1/audio/speech", json=wish())
        assert full.status_code == 429
        assert refusal(full)["code"] == "queue_full"
        seconds = full.headers["retry-after"]
        assert f"{seconds} s" in full.json()["hint"]
        ours = openai.OpenAI(
            base_url=f"{str(browser.base_url).rstrip('/')}/v1", api_key="none", max_retries=0
        )
        with pytest.raises(openai.RateLimitError) as refused:
            ours.audio.speech.create(model="tts-1", voice="nobody", input=TEXT, extra_body=wish())
        assert refused.value.code == "queue_full"
        assert int(refused.value.response.headers["retry-after"]) >= 1
        for job in waiting:
            browser.delete(f"/v1/jobs/{job}")
    done(browser)


def test_an_output_is_sent_by_ranges_and_not_twice(browser: httpx.Client) -> None:
    url = f"/v1/jobs/{done(browser)}/audio"
    whole = browser.get(url)
    etag = whole.headers["etag"]
    assert whole.headers["accept-ranges"] == "bytes"
    assert "private" in whole.headers["cache-control"]
    size = len(whole.content)
    for asked, first, last in (
        ("bytes=0-0", 0, 0),
        ("bytes=100-199", 100, 199),
        (f"bytes={size - 10}-", size - 10, size - 1),
        ("bytes=-10", size - 10, size - 1),
        (f"bytes=5-{size * 2}", 5, size - 1),
    ):
        part = browser.get(url, headers={"Range": asked})
        assert part.status_code == 206, asked
        assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"
        assert part.content == whole.content[first : last + 1]
    for asked in ("bytes=0-1,5-6", "bytes=-", "lines=1-2"):
        assert browser.get(url, headers={"Range": asked}).content == whole.content
    beyond = browser.get(url, headers={"Range": f"bytes={size}-"})
    assert (beyond.status_code, refusal(beyond)["code"]) == (416, "range_not_satisfiable")
    same = browser.get(url, headers={"If-None-Match": f'"x", {etag}'})
    assert (same.status_code, same.content) == (304, b"")
    changed = browser.get(url, headers={"Range": "bytes=0-9", "If-Range": '"another"'})
    assert changed.status_code == 200
    as_flac = browser.get(f"{url}?response_format=flac")
    assert as_flac.headers["etag"] != etag


def test_what_the_api_says_is_kept_by_nobody(browser: httpx.Client) -> None:
    job = done(browser)
    for path in ("/v1/jobs", f"/v1/jobs/{job}", "/v1/models", "/v1/audio/voices", "/readyz"):
        assert browser.get(path).headers["cache-control"] == "no-store", path
    assert browser.post("/v1/audio/speech", json=wish()).headers["cache-control"] == "no-store"
    assert browser.get("/v1/nothing").headers["cache-control"] == "no-store"


@pytest.mark.parametrize("response_format", ["wav", "mp3", "opus", "flac", "pcm"])
def test_openais_client_gets_every_format(browser: httpx.Client, response_format: Any) -> None:
    files = {"audio_sample": ("a.wav", prompts.good())}
    fields = {"name": f"o {response_format}", "ref_text": prompts.TRANSCRIPT}
    browser.post("/v1/audio/voices", data=fields, files=files)
    ours = openai.OpenAI(
        base_url=f"{str(browser.base_url).rstrip('/')}/v1", api_key="none", max_retries=0
    )
    with ours.audio.speech.with_streaming_response.create(
        model="tts-1", voice=fields["name"], input=TEXT, response_format=response_format
    ) as response:
        sound = b"".join(response.iter_bytes())
        rate = int(response.headers.get("x-cosyhost-sample-rate", 0))
    if response_format == "pcm":
        assert len(sound) / 2 / rate > 2
    else:
        samples, rate = soundfile.read(io.BytesIO(sound))
        assert 2 < len(samples) / rate < 15
    browser.delete(f"/v1/audio/voices/{fields['name']}")
