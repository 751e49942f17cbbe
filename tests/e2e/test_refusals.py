"""Bad input, by real requests through nginx: a stable code, both languages, nothing left behind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests import prompts
from tests.e2e import voice
from tests.e2e.tier import Tier

BAD_PROMPTS = prompts.bad_prompts()
LIMIT = 20971520
BAD_REQUESTS: dict[str, tuple[dict[str, Any], int, str]] = {
    "empty text": ({"input": ""}, 422, "text_empty"),
    "blank text": ({"input": " \n\u3000"}, 422, "text_empty"),
    "punctuation only": ({"input": "。！？… --"}, 422, "text_no_words"),
    "a control token": ({"input": "你好<|endofprompt|>"}, 422, "text_control_tokens"),
    "a text beyond the limit": ({"input": "长" * 2001}, 422, "text_too_long"),
    "an unknown mode": ({"mode": "sing"}, 422, "mode_unknown"),
    "speed 0": ({"speed": 0}, 422, "speed_out_of_range"),
    "an unknown format": ({"response_format": "doc"}, 422, "format_unknown"),
    "zero_shot without prompt text": (
        {"mode": "zero_shot", "ref_text": ""}, 422, "mode_needs_prompt_text",
    ),
    "instruct without instruction": ({"mode": "instruct"}, 422, "mode_needs_instructions"),
    "an address as prompt": ({"ref_audio": "http://192.0.2.1/a.wav"}, 422, "ref_audio_invalid"),
    "no prompt": ({"ref_audio": None}, 422, "prompt_missing"),
    "an unknown voice": ({"ref_audio": None, "voice": "nobody"}, 404, "voice_unknown"),
}  # fmt: skip


@pytest.fixture
def client(lan: Tier, prompt: bytes) -> Iterator[httpx.Client]:
    """A client; whatever the test does, the store stays as it was and the service serves on."""
    before = lan.stored()
    with lan.client() as client:
        yield client
        assert lan.stored() == before
        assert client.get("/readyz").status_code == 200


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check the shape of a problem document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    document: dict[str, Any] = answer.json()
    assert document["code"] == document["error"]["code"] == code, document
    assert document["status"] == status
    for name in ("type", "title", "detail", "hint"):
        assert document[name]
    for name in ("detail_zh", "hint_zh"):
        assert re.search("[\u4e00-\u9fff]", document[name]), document
    return document


@pytest.mark.parametrize("what", BAD_PROMPTS)
def test_bad_prompt_is_refused_as_voice_with_its_cure(client: httpx.Client, what: str) -> None:
    audio, code = BAD_PROMPTS[what]
    files = {"audio_sample": ("prompt.wav", audio)}
    refused(client.post("/v1/audio/voices", data={"name": "bad"}, files=files), 422, code)


@pytest.mark.parametrize("what", BAD_PROMPTS)
def test_bad_prompt_is_refused_for_speech_with_its_cure(client: httpx.Client, what: str) -> None:
    audio, code = BAD_PROMPTS[what]
    refused(client.post("/v1/audio/speech", json=voice.request(audio)), 422, code)


@pytest.mark.parametrize("what", BAD_REQUESTS)
def test_bad_request_is_refused_with_its_cure(
    client: httpx.Client, what: str, prompt: bytes
) -> None:
    fields, status, code = BAD_REQUESTS[what]
    body = {k: v for k, v in voice.request(prompt, **fields).items() if v is not None}
    refused(client.post("/v1/audio/speech", json=body), status, code)


def test_no_json_is_refused_with_its_cure(client: httpx.Client) -> None:
    refused(client.post("/v1/audio/speech", content=b"{"), 422, "request_invalid")


@pytest.mark.parametrize("path", ["/v1/audio/speech", "/v1/audio/voices"])
def test_one_byte_beyond_the_limit_is_refused_by_the_edge(client: httpx.Client, path: str) -> None:
    document = refused(client.post(path, content=bytes(LIMIT + 1)), 413, "body_too_large")
    assert "20 MB" in document["detail"]
    assert "20 MB" in document["detail_zh"]


def test_one_byte_beyond_the_limit_is_a_readable_page_in_the_browser(client: httpx.Client) -> None:
    answer = client.post("/", content=bytes(LIMIT + 1))
    assert answer.status_code == 413
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "超过 20 MB" in answer.text
    assert "larger than 20 MB" in answer.text


def test_gradios_own_upload_is_closed(client: httpx.Client) -> None:
    answer = client.post("/gradio_api/upload", files={"files": ("a.wav", b"RIFF")})
    assert answer.status_code == 404


def test_a_chunk_beyond_its_size_is_refused_by_the_edge(client: httpx.Client) -> None:
    answer = client.patch(f"/v1/uploads/{'0' * 64}", content=bytes(100_000))
    assert answer.status_code == 413
    assert answer.json()["code"] == "body_too_large"


def test_an_upload_that_breaks_off_leaves_nothing(client: httpx.Client) -> None:
    def half() -> Iterator[bytes]:
        yield b'{"input": "'
        raise ConnectionError("the line broke")

    with pytest.raises(ConnectionError):
        client.post("/v1/audio/voices", content=half(), headers={"Content-Length": "1000000"})
