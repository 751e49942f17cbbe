"""The API as its clients see it: real web process, real worker, real Redis."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import tempfile
import threading
from pathlib import Path
from typing import Any

import httpx
import httpx2  # the test client's
import openai
import pytest
import redis
import soundfile

from cosyhost.config import Config, load
from cosyhost.errors import Problem
from cosyhost.probe import probe
from tests import prompts
from tests.unit.service.conftest import TEMPLATE, Start, eventually, free_port

TEXT = "今天天气很好，我们一起去公园散步吧。"
LONG = "今天天气很好，我们一起去公园散步吧。" * 25


def data_uri(data: bytes) -> str:
    return "data:audio/wav;base64," + base64.b64encode(data).decode()


def wish(**fields: Any) -> dict[str, Any]:
    return {
        "input": TEXT,
        "ref_audio": data_uri(prompts.good()),
        "ref_text": prompts.TRANSCRIPT,
        **fields,
    }


def refusal(response: httpx.Response | httpx2.Response) -> dict[str, Any]:
    """The problem document, checked to be complete."""
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == response.status_code
    for member in ("type", "title", "detail", "detail_zh", "hint", "hint_zh", "code"):
        assert document[member]
    return document


@pytest.mark.parametrize("response_format", ["wav", "flac", "mp3", "opus"])
def test_speech_comes_in_every_format(service: httpx.Client, response_format: str) -> None:
    body = wish(response_format=response_format)
    response = service.post("/v1/audio/speech", json=body)
    assert response.status_code == 200, response.text
    assert response.headers["x-cosyhost-engine"] == "espeak; preview"
    assert "queue;dur=" in response.headers["server-timing"]
    samples, rate = soundfile.read(io.BytesIO(response.content))
    assert 2 < len(samples) / rate < 15
    assert abs(samples).max() > 0.1


def test_speech_arrives_in_chunks(service: httpx.Client) -> None:
    body = wish(input=LONG, response_format="pcm")
    with service.stream("POST", "/v1/audio/speech", json=body) as response:
        assert len(list(response.iter_raw())) > 5


def test_streamed_and_stored_audio_are_the_same(service: httpx.Client) -> None:
    response = service.post("/v1/audio/speech", json=wish())
    job = response.headers["x-cosyhost-job"]
    eventually(lambda: service.get(f"/v1/jobs/{job}").json()["state"] == "done", "the job")
    stored = service.get(f"/v1/jobs/{job}/audio")
    streamed, _ = soundfile.read(io.BytesIO(response.content), dtype="int16")
    kept, _ = soundfile.read(io.BytesIO(stored.content), dtype="int16")
    assert streamed.tobytes() == kept.tobytes()
    document = service.get(f"/v1/jobs/{job}").json()
    assert document["preview"] is True
    assert set(document["timings_s"]) == {"upload", "queue", "ttfa", "synth", "encode"}


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"input": ""}, 422, "text_empty"),
        ({"input": " \n "}, 422, "text_empty"),
        ({"input": "。。。！"}, 422, "text_no_words"),
        ({"input": "<|zh|>你好"}, 422, "text_control_tokens"),
        ({"input": "好" * 501}, 422, "text_too_long"),
        ({"ref_text": "<|endofprompt|>"}, 422, "text_control_tokens"),
        ({"instructions": "<|x|>"}, 422, "text_control_tokens"),
        ({"mode": "sing"}, 422, "mode_unknown"),
        ({"mode": "zero_shot", "ref_text": ""}, 422, "mode_needs_prompt_text"),
        ({"mode": "instruct"}, 422, "mode_needs_instructions"),
        ({"speed": 0}, 422, "speed_out_of_range"),
        ({"speed": 9}, 422, "speed_out_of_range"),
        ({"response_format": "ape"}, 422, "format_unknown"),
        ({"ref_audio": None}, 422, "prompt_missing"),
        ({"ref_audio": "http://example.org/a.wav"}, 422, "ref_audio_invalid"),
        ({"ref_audio": "data:audio/wav;base64,***"}, 422, "ref_audio_invalid"),
        ({"ref_audio": None, "voice": "nobody"}, 404, "voice_unknown"),
        ({"seed": -1}, 422, "request_invalid"),
    ],
)
def test_a_bad_request_is_refused_with_its_cure(
    service: httpx.Client, change: dict[str, Any], status: int, code: str
) -> None:
    response = service.post("/v1/audio/speech", json=wish(**change))
    document = refusal(response)
    assert (response.status_code, document["code"]) == (status, code)
    assert document["error"]["code"] == code


def test_nonsense_for_json_is_refused(service: httpx.Client) -> None:
    response = service.post(
        "/v1/audio/speech", content=b"{", headers={"content-type": "application/json"}
    )
    assert refusal(response)["code"] == "request_invalid"


@pytest.mark.parametrize("name", sorted(prompts.bad_prompts()))
def test_a_voice_from_a_bad_prompt_is_not_stored(service: httpx.Client, name: str) -> None:
    data, code = prompts.bad_prompts()[name]
    before = service.get("/v1/audio/voices").json()
    response = service.post(
        "/v1/audio/voices", data={"name": "half"}, files={"audio_sample": ("a.wav", data)}
    )
    assert refusal(response)["code"] == code
    assert service.get("/v1/audio/voices").json() == before


def test_a_body_over_the_limit_is_refused(service: httpx.Client, config: Config) -> None:
    data = prompts.of_size(config.limits.body_bytes + 1)
    response = service.post(
        "/v1/audio/voices", data={"name": "big"}, files={"audio_sample": ("a.wav", data)}
    )
    assert response.status_code == 413
    assert refusal(response)["code"] == "body_too_large"


def test_a_voice_is_kept_used_and_deleted(service: httpx.Client) -> None:
    files = {"audio_sample": ("a.wav", prompts.good())}
    fields = {"name": "小李 1", "ref_text": prompts.TRANSCRIPT, "consent": "li"}
    made = service.post("/v1/audio/voices", data=fields, files=files)
    assert made.status_code == 200, made.text
    again = service.post("/v1/audio/voices", data=fields, files=files)
    assert refusal(again)["code"] == "voice_exists"
    assert "小李 1" in service.get("/v1/audio/voices").json()["voices"]
    response = service.post("/v1/audio/speech", json={"input": TEXT, "voice": "小李 1"})
    assert response.status_code == 200
    job = service.get(f"/v1/jobs/{response.headers['x-cosyhost-job']}").json()
    assert job["mode"] == "zero_shot"
    assert service.delete("/v1/audio/voices/小李 1").status_code == 200
    assert refusal(service.delete("/v1/audio/voices/小李 1"))["code"] == "voice_unknown"


def test_a_voice_is_renamed_and_listened_to(service: httpx.Client) -> None:
    files = {"audio_sample": ("a.wav", prompts.good())}
    service.post("/v1/audio/voices", data={"name": "before"}, files=files)
    service.post("/v1/audio/voices", data={"name": "taken"}, files=files)
    url = "/v1/audio/voices/before"
    assert refusal(service.patch(url, json={"name": "taken"}))["code"] == "voice_exists"
    assert refusal(service.patch(url, json={"name": "../x"}))["code"] == "voice_name_invalid"
    assert service.patch(url, json={"name": "after"}).json()["voice"]["name"] == "after"
    assert refusal(service.get(f"{url}/audio"))["code"] == "voice_unknown"
    samples, _ = soundfile.read(io.BytesIO(service.get("/v1/audio/voices/after/audio").content))
    assert len(samples) > 0
    for name in ("after", "taken"):
        assert service.delete(f"/v1/audio/voices/{name}").status_code == 200


@pytest.mark.parametrize(
    "name",
    ["", "../../etc/passwd", "a" * 65, "名" * 10_000, "<script>x</script>", "a/b", ".hidden"],
)
def test_a_name_that_cannot_be_used_is_refused(service: httpx.Client, name: str) -> None:
    files = {"audio_sample": ("a.wav", prompts.good())}
    response = service.post("/v1/audio/voices", data={"name": name}, files=files)
    assert refusal(response)["code"] in {"voice_name_invalid", "request_invalid"}


def child_of(client: redis.Redis, job: str) -> int:
    """The process that speaks the job."""
    owner = client.hget(f"job:{job}", "owner")
    assert isinstance(owner, bytes)
    return int(owner.decode().split("/")[2])


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
def test_a_client_that_leaves_frees_the_worker(
    service: httpx.Client, client: redis.Redis, stream_format: str
) -> None:
    body = wish(input=LONG, response_format="pcm", stream_format=stream_format)
    with service.stream("POST", "/v1/audio/speech", json=body) as response:
        job = response.headers["x-cosyhost-job"]
        child = child_of(client, job)
        os.kill(child, signal.SIGSTOP)  # or the job might be done before the client has left
        next(response.iter_raw())
    try:
        eventually(lambda: client.hget(f"job:{job}", "state") == b"cancelled", "the cancellation")
    finally:
        os.kill(child, signal.SIGCONT)
    eventually(lambda: service.get("/v1/jobs/" + job).json()["state"] == "cancelled", "the end")
    after = service.post("/v1/audio/speech", json=wish())
    assert after.status_code == 200
    assert service.get(f"/v1/jobs/{job}").json()["audio_s"] is None


def test_a_cancelled_job_gives_no_audio(service: httpx.Client, client: redis.Redis) -> None:
    job = service.post("/v1/audio/speech", json=wish()).headers["x-cosyhost-job"]
    client.hset(f"job:{job}", "state", "cancelled")
    assert refusal(service.get(f"/v1/jobs/{job}/audio"))["code"] == "job_cancelled"


@pytest.mark.parametrize("path", ["/v1/jobs/nothing", "/v1/jobs/nothing/audio"])
def test_an_unknown_job_is_not_found(service: httpx.Client, path: str) -> None:
    response = service.get(path)
    assert (response.status_code, refusal(response)["code"]) == (404, "job_unknown")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/audio/speech", 405, "method_not_allowed"),
        ("PUT", "/v1/audio/voices", 405, "method_not_allowed"),
    ],
)
def test_a_wrong_address_is_a_problem_document(
    service: httpx.Client, method: str, path: str, status: int, code: str
) -> None:
    response = service.request(method, path)
    assert (response.status_code, refusal(response)["code"]) == (status, code)


def test_metrics_count_jobs_and_name_the_preview(service: httpx.Client) -> None:
    service.post("/v1/audio/speech", json=wish())
    text = service.get("/metrics").text
    assert 'engine="espeak"' in text
    assert 'preview="1"' in text
    assert "cosyhost_worker_children 2.0" in text
    assert TEXT not in text


def test_the_page_and_the_models_say_preview(service: httpx.Client) -> None:
    assert re.search(r'preview\\*": true', service.get("/").text)
    assert service.get("/v1/models").json()["data"][0]["preview"] is True


def test_jobs_side_by_side_all_end(service: httpx.Client) -> None:
    answers: list[int] = []

    def one() -> None:
        with httpx.Client(base_url=service.base_url, timeout=60) as own:
            answers.append(own.post("/v1/audio/speech", json=wish()).status_code)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6
    assert set(answers) <= {200, 429}
    assert answers.count(200) >= 4


def test_a_killed_child_loses_no_job_and_nobody_hears_it_twice(
    service: httpx.Client, client: redis.Redis
) -> None:
    whole = service.post("/v1/audio/speech", json=wish(input=LONG, response_format="pcm")).content
    body = wish(input=LONG, response_format="pcm")
    heard = bytearray()
    with service.stream("POST", "/v1/audio/speech", json=body) as response:
        job = response.headers["x-cosyhost-job"]
        os.kill(child_of(client, job), signal.SIGKILL)
        for chunk in response.iter_raw():
            heard += chunk
    status = service.get(f"/v1/jobs/{job}").json()
    assert (status["state"], status["attempts"]) == ("done", 2)
    assert bytes(heard) == whole


def test_a_queue_that_is_away_is_said_and_healed(service: httpx.Client, start: Start) -> None:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        path = Path(folder) / "cosyhost.toml"
        path.write_text(TEMPLATE.format(web_port=port, redis_port=1, folder=folder))
        web = start("web", config_path=path)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as lonely:

            def alive() -> bool:
                try:
                    return lonely.get("/healthz").status_code == 200
                except httpx.TransportError:
                    return False

            eventually(alive, "the lonely web process", seconds=60)
            assert lonely.get("/readyz").status_code == 503
            response = lonely.post("/v1/audio/speech", json=wish())
            assert refusal(response)["code"] == "queue_unavailable"
            assert response.headers["retry-after"] == "5"
        web.terminate()
        web.wait(30)


def test_a_release_passes_its_gate_only_with_its_queue(
    config_path: Path, start: Start, tmp_path: Path
) -> None:
    for verb in ("web", "worker"):
        assert start(verb, "--check").wait(60) == 0
    lonely = tmp_path / "cosyhost.toml"
    lonely.write_text(TEMPLATE.format(web_port=1, redis_port=1, folder=tmp_path))
    for verb in ("web", "worker"):
        assert start(verb, "--check", config_path=lonely).wait(60) == 1


def test_the_probe_hears_the_running_service(
    config: Config, service: httpx.Client, start: Start
) -> None:
    assert "s of speech" in probe(config, 5)
    assert start("probe").wait(60) == 0


def test_the_probe_refuses_a_service_that_cannot_speak(config: Config, tmp_path: Path) -> None:
    silent = tmp_path / "cosyhost.toml"
    silent.write_text(TEMPLATE.format(web_port=free_port(), redis_port=1, folder=tmp_path))
    with pytest.raises(Problem, match="not ready"):
        probe(load(silent), 0.5)


def test_the_api_page_lists_the_routes(service: httpx.Client) -> None:
    paths = json.loads(service.get("/openapi.json").text)["paths"]
    assert {"/v1/audio/speech", "/v1/audio/voices", "/v1/jobs/{job_id}"} <= set(paths)


def test_a_submitted_job_is_followed_to_its_end(service: httpx.Client) -> None:
    with httpx.Client(base_url=service.base_url, timeout=30) as browser:
        answer = browser.post("/v1/jobs", json=wish())
        assert answer.status_code == 202
        location = answer.headers["location"]
        documents = []
        with browser.stream("GET", f"{location}/events") as events:
            assert events.headers["content-type"].startswith("text/event-stream")
            for line in events.iter_lines():
                if line.startswith("data: "):
                    documents.append(json.loads(line.removeprefix("data: ")))
        assert documents[-1]["state"] == "done"
        assert documents[-1]["spoken_s"] == pytest.approx(documents[-1]["audio_s"])
        listed = browser.get("/v1/jobs").json()["jobs"]
        assert [one["title"] for one in listed] == [TEXT[:40]]
    assert service.get("/v1/jobs").json()["jobs"] != listed, "a stranger sees others' jobs"


def test_speech_as_events_carries_the_same_sound(service: httpx.Client) -> None:
    body = wish(response_format="pcm")
    plain = service.post("/v1/audio/speech", json=body).content
    heard, kinds = b"", []
    with service.stream("POST", "/v1/audio/speech", json={**body, "stream_format": "sse"}) as live:
        for line in live.iter_lines():
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                kinds.append(event["type"])
                heard += base64.b64decode(event.get("audio", ""))
    assert heard == plain
    assert kinds[-1] == "speech.audio.done"
    assert set(kinds[:-1]) == {"speech.audio.delta"}


def test_openais_own_client_works_unchanged(service: httpx.Client) -> None:
    files = {"audio_sample": ("a.wav", prompts.good())}
    fields = {"name": "openai", "ref_text": prompts.TRANSCRIPT}
    service.post("/v1/audio/voices", data=fields, files=files)
    ours = openai.OpenAI(base_url=f"{service.base_url}/v1".replace("//v1", "/v1"), api_key="none")
    whole = ours.audio.speech.create(model="tts-1", voice="openai", input=TEXT)
    samples, _ = soundfile.read(io.BytesIO(whole.read()))
    assert len(samples) > 0
    with ours.audio.speech.with_streaming_response.create(
        model="tts-1", voice="openai", input=TEXT, response_format="pcm"
    ) as response:
        assert sum(len(chunk) for chunk in response.iter_bytes()) > 0
    with pytest.raises(openai.NotFoundError) as refused:
        ours.audio.speech.create(model="tts-1", voice="nobody", input=TEXT)
    assert refused.value.code == "voice_unknown"
    service.delete("/v1/audio/voices/openai")
