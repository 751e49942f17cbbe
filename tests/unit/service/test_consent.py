"""Who must say that a voice may be cloned, by tier, and what the trail tells of it afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import msgspec
import openai
import pytest
import redis
import soundfile
from fastapi.testclient import TestClient

from cosyhost.config import Config
from cosyhost.errors import ENGINE_FAILED, Problem
from cosyhost.jobs import Ledger
from cosyhost.store import Store
from cosyhost.trail import Record
from cosyhost.trail.reading import lines
from cosyhost.voices import Library
from cosyhost.web import consents
from cosyhost.web.app import create_app
from cosyhost.web.services import Services
from tests import prompts
from tests.unit.service.conftest import Start, eventually, free_port
from tests.unit.service.test_api import LONG, TEXT, data_uri, refusal, wish

CLIENT = ("testclient", 50000)
Web = Callable[[str], Any]  # httpx2 in the one client, httpx in the others


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the web processes of this test keep their trail."""
    monkeypatch.setenv("LOGS_DIRECTORY", str(tmp_path))
    return tmp_path


@pytest.fixture
def web(config: Config, folder: Path) -> Iterator[Web]:
    """A function that opens the app of a tier, in a Redis database without workers."""
    url = config.redis.url.removesuffix("/0") + "/3"
    other = msgspec.structs.replace(config, redis=msgspec.structs.replace(config.redis, url=url))
    redis.Redis.from_url(url).flushdb()
    with contextlib.ExitStack() as stack:

        def opened(consent: str) -> TestClient:
            settings = msgspec.structs.replace(other, consent=consent)
            # No `with`: without its lifespan the app records ends when the test says so.
            client = TestClient(create_app(settings, None))
            stack.callback(client.close)
            return client

        yield opened
    library = Library(Store(config.store))
    for voice in library.all():
        library.delete(voice.name)


def services_of(client: TestClient) -> Services:
    services: Services = client.app.state.services  # type: ignore[attr-defined]
    return services


def trail(folder: Path) -> list[Record]:
    return [line.record for line in lines(folder) if line.record]


def stored(client: TestClient, name: str, **fields: str) -> httpx2.Response:
    files = {"audio_sample": ("a.wav", prompts.good())}
    data = {"name": name, "ref_text": prompts.TRANSCRIPT, **fields}
    return client.post("/v1/audio/voices", data=data, files=files)


def uploaded(client: TestClient) -> str:
    """A recording sent as the studio does."""
    data = prompts.good()
    sha256 = hashlib.sha256(data).hexdigest()
    for at in range(0, len(data), 32768):
        client.patch(
            f"/v1/uploads/{sha256}",
            content=data[at : at + 32768],
            headers={"Upload-Offset": str(at), "Upload-Length": str(len(data))},
        ).raise_for_status()
    return sha256


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        *((no, "") for no in (None, False, "", " ", "false", "No", "0", "null", "否")),
        *((True, "true"), ("true", "true"), ("1", "1"), (" Alice, 2025 ", "Alice, 2025")),
        *(("cons_1234", "cons_1234"), ("nobody's", "nobody's")),
    ],
)
def test_words_are_a_consent_and_a_no_is_none(sent: consents.Given, words: str) -> None:
    assert consents.given(sent) == words


@pytest.mark.parametrize("tier", ["none", "asked"])
def test_the_api_may_omit_it_where_it_is_not_required(web: Web, folder: Path, tier: str) -> None:
    client = web(tier)
    assert client.post("/v1/jobs", json=wish()).status_code == 202
    assert stored(client, "Anna").status_code == 200
    assert client.post("/v1/jobs", json={"input": TEXT, "voice": "Anna"}).status_code == 202
    assert {record.consent for record in trail(folder)} == {""}


def test_where_it_is_required_nothing_is_cloned_without(web: Web, folder: Path) -> None:
    client = web("required")
    sha256 = uploaded(client)
    for body in (wish(), wish(consent="no"), wish(consent=False), wish(ref_upload=sha256)):
        document = refusal(client.post("/v1/jobs", json=body))
        assert (document["status"], document["code"]) == (422, "consent_missing")
        assert "consent" in document["hint_zh"]
    assert client.post("/v1/audio/speech", json=wish()).json()["error"]["code"] == "consent_missing"
    assert refusal(stored(client, "Anna"))["code"] == "consent_missing"
    assert client.get("/v1/audio/voices").json()["voices"] == []
    assert services_of(client).ledger.depth() == (0, 0)
    found = trail(folder)
    assert {(one.outcome, one.code, one.consent) for one in found} == {
        ("refused", "consent_missing", "")
    }
    assert [one.event for one in found] == ["speech"] * 5 + ["voice_added"]


@pytest.mark.parametrize("consent", [True, "Alice, 2025-11-03", "cons_1234"])
def test_with_it_all_is_as_elsewhere(web: Web, folder: Path, consent: Any) -> None:
    client = web("required")
    for prompt in ({}, {"ref_audio": None, "ref_upload": uploaded(client)}):
        answer = client.post("/v1/jobs", json=wish(consent=consent, **prompt))
        assert answer.status_code == 202, answer.text
    told = "true" if consent is True else consent
    assert [(one.outcome, one.consent) for one in trail(folder)] == [("accepted", told)] * 2


def test_a_stored_voice_brings_its_own(web: Web, folder: Path) -> None:
    open_to_all, strict = web("asked"), web("required")
    made = stored(strict, "Anna", consent="Anna, by letter")
    assert made.json()["voice"]["consent"] == "Anna, by letter"
    speech = {"input": TEXT, "voice": "Anna"}
    assert strict.post("/v1/jobs", json=speech).status_code == 202
    assert trail(folder)[-1].consent == "Anna, by letter"
    assert trail(folder)[-1].name == "Anna"
    # One from before it was required has none, and is spoken with only where one is given.
    stored(open_to_all, "Berta")
    speech["voice"] = "Berta"
    assert refusal(strict.post("/v1/jobs", json=speech))["code"] == "consent_missing"
    assert strict.post("/v1/jobs", json=speech | {"consent": "Berta"}).status_code == 202


def test_a_live_text_needs_it_too(web: Web, folder: Path) -> None:
    client = web("required")
    sha256 = uploaded(client)
    for consent, outcome in ((None, "refused"), ("Alice", "accepted")):
        with client.websocket_connect("/v1/audio/speech/live") as live:
            live.send_json({"ref_upload": sha256, "consent": consent})
            live.send_json({"text": "你好。", "end": True})
            if outcome == "accepted":
                eventually(lambda: trail(folder)[-1].outcome == "accepted", "the job")
                # Nobody works here: without an end the socket would wait for one.
                services_of(client).ledger.cancel(trail(folder)[-1].job)
            code = live.receive_json()["problem"]["code"]
        assert code == {"refused": "consent_missing", "accepted": "job_cancelled"}[outcome]
        assert (trail(folder)[-1].outcome, trail(folder)[-1].consent) == (outcome, consent or "")
        assert trail(folder)[-1].address == CLIENT[0]


def test_a_consent_of_endless_words_is_refused(web: Web) -> None:
    client = web("asked")
    assert refusal(client.post("/v1/jobs", json=wish(consent="x" * 501)))["code"] == (
        "request_invalid"
    )
    assert refusal(stored(client, "Anna", consent="x" * 501))["code"] == "request_invalid"


def test_what_cannot_be_recorded_is_not_done_where_consent_is_required(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGS_DIRECTORY", str(tmp_path / "gone"))
    strict, easy = web("required"), web("asked")
    body = wish(consent=True)
    answer = strict.post("/v1/jobs", json=body)
    assert (answer.status_code, refusal(answer)["code"]) == (503, "trail_unavailable")
    assert answer.headers["retry-after"]
    assert refusal(stored(strict, "Anna", consent="Anna"))["code"] == "trail_unavailable"
    assert strict.get("/v1/audio/voices").json()["voices"] == []
    assert services_of(strict).ledger.depth() == (0, 0)
    ready = strict.get("/readyz")
    assert (ready.status_code, ready.json()["trail"]) == (503, "trail_unavailable")
    assert easy.post("/v1/jobs", json=body).status_code == 202
    assert stored(easy, "Anna", consent="Anna").status_code == 200
    assert refusal(strict.delete("/v1/audio/voices/Anna"))["code"] == "trail_unavailable"
    assert strict.get("/v1/audio/voices").json()["voices"] == ["Anna"]


def test_the_studio_is_told_whether_to_ask(web: Web) -> None:
    for tier, asks in (("none", "false"), ("asked", "true"), ("required", "true")):
        assert f'asksConsent\\": {asks}' in web(tier).get("/").text.replace("\\\\", "\\")


def test_the_library_is_in_the_trail(web: Web, folder: Path) -> None:
    client = web("required")
    stored(client, "Anna", consent="Anna")
    stored(client, "Anna", consent="Anna")
    client.patch("/v1/audio/voices/Anna", json={"name": "Berta"})
    client.delete("/v1/audio/voices/Anna")
    client.delete("/v1/audio/voices/Berta")
    found = trail(folder)
    told = [(one.event, one.outcome, one.name, one.code) for one in found]
    assert told == [
        ("voice_added", "accepted", "Anna", ""),
        ("voice_added", "done", "Anna", ""),
        ("voice_added", "accepted", "Anna", ""),
        ("voice_added", "refused", "Anna", "voice_exists"),
        ("voice_renamed", "accepted", "Anna", ""),
        ("voice_renamed", "done", "Anna", ""),
        ("voice_deleted", "refused", "Anna", "voice_unknown"),
        ("voice_deleted", "accepted", "Berta", ""),
        ("voice_deleted", "done", "Berta", ""),
    ]
    assert found[5].new_name == "Berta"
    assert len({one.voice for one in found if one.voice}) == 1


# The ends of jobs


def ends(folder: Path) -> list[tuple[str, str, str]]:
    """Job, outcome and code of what has ended."""
    return [(one.job, one.outcome, one.code) for one in trail(folder) if one.outcome != "accepted"]


def test_every_end_is_recorded_once_whoever_ended_the_job(web: Web, folder: Path) -> None:
    client = web("required")
    ledger: Ledger = services_of(client).ledger
    made = [client.post("/v1/jobs", json=wish(consent=True)).json()["id"] for _ in range(4)]
    done, failed, dead, cancelled = made
    for job in (done, failed):
        ledger.claim(job, "a", engine="espeak", preview=1)
    ledger.finish(done, "a", "done", audio_s=1.5)
    ledger.fail(failed, "a", Problem(ENGINE_FAILED, reason="x"))
    for attempt in "1234":
        ledger.claim(dead, attempt)
        ledger.release(dead, attempt)
    client.delete(f"/v1/jobs/{cancelled}?forget=true")
    assert ends(folder) == []
    assert consents.record_ends(services_of(client)) == 4
    assert consents.record_ends(services_of(client)) == 0
    assert sorted(ends(folder)) == sorted(
        [
            (done, "done", ""),
            (failed, "failed", "engine_failed"),
            (dead, "failed", "job_failed_repeatedly"),
            (cancelled, "cancelled", ""),
        ]
    )
    first = next(one for one in trail(folder) if one.job == done and one.outcome == "done")
    assert (first.engine, first.preview, first.audio_s) == ("espeak", True, 1.5)
    assert first.took_s is not None
    assert {one.user for one in trail(folder)} == {first.user}


def test_a_web_that_dies_while_it_records_leaves_the_rest_to_the_next(
    web: Web, folder: Path
) -> None:
    client = web("asked")
    ledger = services_of(client).ledger
    made = [client.post("/v1/jobs", json=wish()).json()["id"] for _ in range(3)]
    for job in made:
        ledger.cancel(job)
    seen: list[str] = []

    class Killed(BaseException):
        pass

    def die_at_second(job: Any) -> None:
        if seen:
            raise Killed
        seen.append(job.id)

    with pytest.raises(Killed):
        ledger.record_ends(die_at_second)
    assert consents.record_ends(services_of(web("asked"))) == 2
    assert seen + [job for job, _, _ in ends(folder)] == made


def test_one_process_at_a_time_records(web: Web, folder: Path) -> None:
    client = web("asked")
    ledger = services_of(client).ledger
    ledger.cancel(client.post("/v1/jobs", json=wish()).json()["id"])
    inner: list[int] = []
    ledger.record_ends(lambda job: inner.append(consents.record_ends(services_of(client))))
    assert inner == [0]


def test_ends_wait_for_a_trail_that_can_be_written(web: Web, folder: Path) -> None:
    client = web("asked")
    job = client.post("/v1/jobs", json=wish()).json()["id"]
    services_of(client).ledger.cancel(job)
    for file in folder.glob("trail-*"):
        file.unlink()
        file.mkdir()
    with pytest.raises(OSError, match="directory"):
        consents.record_ends(services_of(client))
    for file in folder.glob("trail-*"):
        file.rmdir()
    assert consents.record_ends(services_of(client)) == 1
    assert ends(folder) == [(job, "cancelled", "")]


def test_a_job_that_found_no_room_is_accepted_and_then_refused(web: Web, folder: Path) -> None:
    client = web("asked")
    answers = [client.post("/v1/jobs", json=wish()).status_code for _ in range(5)]
    assert answers == [202] * 4 + [429]
    *_, accepted, refused = trail(folder)
    assert (accepted.outcome, refused.outcome, refused.code) == (
        *("accepted", "refused"),
        "queue_full",
    )
    assert accepted.job == refused.job != ""


# The whole, with processes of its own


@pytest.fixture
def strict(
    service: httpx.Client, config_path: Path, start: Start, tmp_path: Path
) -> Iterator[tuple[httpx.Client, Path, subprocess.Popen[bytes]]]:
    """A web process where consent is required, before the deployment's worker; its trail."""
    port, path = free_port(), tmp_path / "strict.toml"
    lines_ = [
        f"port = {port}" if line == f"port = {service.base_url.port}" else line
        for line in config_path.read_text().replace('"asked"', '"required"').splitlines()
    ]
    path.write_text("\n".join(lines_))
    process = start("web", config_path=path)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

        def ready() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return client.get("/readyz").status_code == 200
            return False

        eventually(ready, "the strict web process")
        yield client, tmp_path / "trail", process
    process.kill()
    process.wait()


def everywhere(config_path: Path, *folders: Path) -> list[Record]:
    """The trails of all web processes: an end is recorded by whoever comes first."""
    return [one for folder in (config_path.parent / "trail", *folders) for one in trail(folder)]


def test_a_real_job_is_in_the_trail_from_its_acceptance_to_its_end(
    strict: tuple[httpx.Client, Path, Any], config_path: Path
) -> None:
    client, folder, _ = strict
    client.get("/v1/jobs")
    cookie = client.cookies["cosyhost_user"]
    secret = "谁也不知道的句子。"
    answer = client.post(
        "/v1/audio/speech",
        json=wish(input=secret, consent="Alice"),
        # As nginx sends it; who comes without is 127.0.0.1.
        headers={"X-Forwarded-For": "192.0.2.7"},
    )
    assert answer.status_code == 200
    job = answer.headers["x-cosyhost-job"]
    accepted = next(one for one in trail(folder) if one.job == job)
    assert (accepted.outcome, accepted.consent, accepted.address, accepted.mode) == (
        *("accepted", "Alice"),
        *("192.0.2.7", "zero_shot"),
    )
    assert accepted.user == hashlib.sha256(cookie.encode()).hexdigest()[:16]

    def ended() -> list[Record]:
        found = everywhere(config_path, folder)
        return [one for one in found if one.job == job and one.outcome != "accepted"]

    eventually(ended, "the end in the trail")
    (end,) = ended()
    assert (end.outcome, end.engine, end.preview, end.user) == (
        *("done", "espeak"),
        *(True, accepted.user),
    )
    assert end.audio_s
    written = b"".join(file.read_bytes() for file in folder.iterdir()).decode("utf-8", "replace")
    for plain in (secret, prompts.TRANSCRIPT, cookie):
        assert plain not in written
    # The voice is named as the store names it.
    assert (config_path.parent / f"data/voices/prompts/{accepted.voice}.wav").exists()


def test_a_web_that_is_killed_leaves_its_jobs_end_to_the_next(
    strict: tuple[httpx.Client, Path, subprocess.Popen[bytes]], config_path: Path
) -> None:
    client, folder, process = strict
    job = client.post("/v1/jobs", json=wish(input=LONG, consent=True)).json()["id"]
    process.kill()
    process.wait()
    assert [one.outcome for one in trail(folder) if one.job == job] == ["accepted"]
    eventually(
        lambda: any(
            (one.job, one.outcome) == (job, "done") for one in everywhere(config_path, folder)
        ),
        "its end, from another process",
    )


def test_openais_client_says_it_as_an_extra(strict: tuple[httpx.Client, Path, Any]) -> None:
    client, folder, _ = strict
    ours = openai.OpenAI(
        base_url=f"{str(client.base_url).rstrip('/')}/v1", api_key="none", max_retries=0
    )
    extra = {"ref_audio": data_uri(prompts.good()), "ref_text": prompts.TRANSCRIPT}
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        ours.audio.speech.create(model="tts-1", voice="", input=TEXT, extra_body=extra)
    assert refused.value.code == "consent_missing"
    spoken = ours.audio.speech.create(
        model="tts-1", voice="", input=TEXT, extra_body=extra | {"consent": "Alice"}
    )
    assert soundfile.info(io.BytesIO(spoken.read())).frames > 0
    assert [one.consent for one in trail(folder) if one.outcome == "accepted"] == ["Alice"]


def test_the_probe_of_a_release_says_whose_voice_it_has(
    strict: tuple[httpx.Client, Path, Any], start: Start, tmp_path: Path
) -> None:
    assert start("probe", config_path=tmp_path / "strict.toml").wait(60) == 0
    assert "nobody's voice" in json.dumps([one.consent for one in trail(strict[1])])
