"""Resumable uploads: any order, any interruption, each user's apart, nothing left behind."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import redis

from cosyhost import audio
from cosyhost.config import Config
from cosyhost.errors import Problem
from cosyhost.store import Store
from cosyhost.uploads import CHUNK_BYTES, UPLOADS_PER_USER, Finished, Uploads
from cosyhost.voices import Library
from tests import prompts
from tests.unit.service.conftest import eventually
from tests.unit.service.test_api import refusal


def name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def offsets(data: bytes) -> list[int]:
    return list(range(0, len(data), CHUNK_BYTES))


@pytest.fixture
def sound() -> bytes:
    """A prompt of many chunks."""
    data = prompts.lasting(6)
    assert len(offsets(data)) > 3
    return data


@pytest.fixture
def user(service: httpx.Client, config: Config) -> Iterator[httpx.Client]:
    """A browser that has seen the page, and so has its cookie."""
    base = f"http://{config.web.listen}:{config.web.port}"
    with httpx.Client(base_url=base, timeout=30) as browser:
        browser.get("/healthz")
        yield browser


def send(
    user: httpx.Client, data: bytes, offset: int, *, sha256: str = "", length: int | None = None
) -> httpx.Response:
    headers = {
        "Upload-Offset": str(offset),
        "Upload-Length": str(len(data) if length is None else length),
        "Content-Type": "application/offset+octet-stream",
    }
    chunk = data[offset : offset + CHUNK_BYTES]
    return user.patch(f"/v1/uploads/{sha256 or name(data)}", content=chunk, headers=headers)


def test_the_page_gives_a_cookie_no_script_can_read(service: httpx.Client) -> None:
    with httpx.Client(base_url=service.base_url) as fresh:
        cookie = fresh.get("/").headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert "set-cookie" not in fresh.get("/").headers


def test_chunks_in_any_order_become_a_prompt(user: httpx.Client, sound: bytes) -> None:
    *early, last = reversed(offsets(sound))
    for offset in early:
        assert send(user, sound, offset).status_code == 204
    state = user.get(f"/v1/uploads/{name(sound)}").json()
    assert state == {"complete": False, "length": len(sound), "have": sorted(early)}
    done = send(user, sound, last)
    assert done.status_code == 200
    assert done.json()["seconds"] == pytest.approx(6, abs=0.01)
    head = user.head(f"/v1/uploads/{name(sound)}").headers
    assert (head["upload-complete"], head["upload-offset"]) == ("?1", str(len(sound)))


def test_a_repeated_chunk_does_no_harm(user: httpx.Client, sound: bytes) -> None:
    for offset in offsets(sound)[:-1]:
        send(user, sound, offset)
        assert send(user, sound, offset).headers["upload-offset"] == str(offset + CHUNK_BYTES)
    assert send(user, sound, offsets(sound)[-1]).status_code == 200
    assert send(user, sound, 0).status_code == 200, "known audio is complete at once"


def test_a_hash_is_no_key_to_somebody_elses_voice(
    user: httpx.Client, service: httpx.Client, sound: bytes
) -> None:
    for offset in offsets(sound):
        send(user, sound, offset)
    with httpx.Client(base_url=service.base_url) as stranger:
        stranger.get("/healthz")
        assert stranger.cookies["cosyhost_user"] != user.cookies["cosyhost_user"]
        answer = stranger.get(f"/v1/uploads/{name(sound)}")
        assert refusal(answer)["code"] == "upload_unknown"
        stranger.delete(f"/v1/uploads/{name(sound)}")
    assert user.get(f"/v1/uploads/{name(sound)}").json()["complete"]


def test_a_wrong_hash_drops_everything(user: httpx.Client, sound: bytes) -> None:
    wrong = "0" * 64
    for offset in offsets(sound)[:-1]:
        send(user, sound, offset, sha256=wrong)
    answer = send(user, sound, offsets(sound)[-1], sha256=wrong)
    assert refusal(answer)["code"] == "upload_damaged"
    assert user.get(f"/v1/uploads/{wrong}").status_code == 404


@pytest.mark.parametrize(
    ("offset", "length", "chunk"),
    [
        (1, 200_000, CHUNK_BYTES),
        (262_144, 200_000, 10),
        (0, 200_000, 100),
        (0, 100, CHUNK_BYTES),
        (0, 200_000, CHUNK_BYTES + 1),
    ],
)
def test_a_chunk_that_does_not_fit_is_refused(
    user: httpx.Client, offset: int, length: int, chunk: int
) -> None:
    headers = {"Upload-Offset": str(offset), "Upload-Length": str(length)}
    answer = user.patch(f"/v1/uploads/{'1' * 64}", content=bytes(chunk), headers=headers)
    assert answer.status_code == 409
    assert refusal(answer)["code"] == "upload_offset_wrong"


def test_two_tabs_that_disagree_on_the_length_are_told(user: httpx.Client) -> None:
    data = prompts.noise_bytes(200_000)
    assert send(user, data, 0).status_code == 204
    assert refusal(send(user, data, 0, length=200_001))["code"] == "upload_offset_wrong"
    user.delete(f"/v1/uploads/{name(data)}")


def stored(config: Config) -> set[Path]:
    """Every file of the store."""
    return {path for path in Path(urlsplit(config.store.url).path).rglob("*") if path.is_file()}


def keys_of(user: httpx.Client, client: redis.Redis) -> list[bytes]:
    """What Redis has of a user."""
    return list(client.scan_iter(f"*{user.cookies['cosyhost_user']}*"))


BAD = {name: (lambda data=data: data, code) for name, (data, code) in prompts.bad_prompts().items()}


@pytest.mark.parametrize("bad", [*BAD, *prompts.HOSTILE])
def test_a_bad_prompt_is_refused_and_leaves_nothing(
    user: httpx.Client, client: redis.Redis, config: Config, bad: str
) -> None:
    make, code = {**BAD, **prompts.HOSTILE}[bad]
    data, before = make(), stored(config)
    answers = [send(user, data, offset) for offset in offsets(data)] or [send(user, data, 0)]
    assert all(answer.status_code == 204 for answer in answers[:-1])
    problem = refusal(answers[-1])
    assert problem["code"] == code
    assert re.search("[\u4e00-\u9fff]", problem["detail_zh"])
    assert problem["detail"].isascii()
    assert keys_of(user, client) == []
    assert stored(config) == before
    known = user.post("/v1/audio/voices", data={"name": "bad", "upload": name(data)})
    assert refusal(known)["code"] == "upload_unknown"


def test_two_tabs_that_send_the_same_at_once_make_one_prompt(
    user: httpx.Client, client: redis.Redis, config: Config
) -> None:
    data = prompts.lasting(7.5)
    before = stored(config)

    def tab(_: int) -> list[httpx.Response]:
        with httpx.Client(base_url=user.base_url, cookies=user.cookies, timeout=30) as own:
            return [send(own, data, offset) for offset in offsets(data)]

    with ThreadPoolExecutor(2) as pool:
        tabs = list(pool.map(tab, range(2)))
    assert {answer.status_code for answers in tabs for answer in answers} <= {200, 204}
    url = f"/v1/uploads/{name(data)}"
    eventually(lambda: user.get(url).json()["complete"], "the check")
    assert len(stored(config) - before) == 1
    assert [key.split(b":")[0] for key in keys_of(user, client)] == [b"uploaded"]


def test_a_file_over_the_limit_is_refused_at_its_first_chunk(
    user: httpx.Client, config: Config
) -> None:
    answer = send(user, bytes(CHUNK_BYTES), 0, length=config.limits.body_bytes + 1)
    assert refusal(answer)["code"] == "prompt_too_large"


def test_too_many_unfinished_uploads_are_refused_with_a_time(user: httpx.Client) -> None:
    many = [prompts.noise_bytes(70_000 + n) for n in range(UPLOADS_PER_USER + 1)]
    answers = [send(user, data, 0) for data in many]
    assert [answer.status_code for answer in answers[:-1]] == [204] * UPLOADS_PER_USER
    assert refusal(answers[-1])["code"] == "upload_quota"
    assert answers[-1].headers["retry-after"]
    user.delete(f"/v1/uploads/{name(many[0])}")
    assert send(user, many[-1], 0).status_code == 204
    for data in many:
        user.delete(f"/v1/uploads/{name(data)}")


def test_a_chunk_after_expiry_begins_anew(user: httpx.Client, client: redis.Redis) -> None:
    data = prompts.lasting(8.5)
    *early, last = offsets(data)
    for offset in early:
        send(user, data, offset)
    (key,) = keys_of(user, client)
    assert 0 < client.ttl(key) <= 3600
    client.pexpire(key, 1)
    eventually(lambda: not client.exists(key), "the upload's end")
    assert refusal(user.get(f"/v1/uploads/{name(data)}"))["code"] == "upload_unknown"
    late = send(user, data, last)
    assert (late.status_code, late.headers["upload-offset"]) == (204, "0")
    assert user.get(f"/v1/uploads/{name(data)}").json()["have"] == [last]
    answers = [send(user, data, offset) for offset in early]
    assert answers[-1].json()["complete"]


@pytest.mark.parametrize("sha256", ["x" * 64, "0" * 63, "A" * 64, "..%2f" * 13])
def test_a_name_that_is_no_hash_is_refused(user: httpx.Client, sha256: str) -> None:
    assert refusal(user.get(f"/v1/uploads/{sha256}"))["code"] in {"request_invalid", "not_found"}


def test_a_busy_server_refuses_no_good_audio(
    service: httpx.Client, client: redis.Redis, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = Uploads(client, Library(Store(config.store)), config.limits.body_bytes)
    data = prompts.lasting(5.5)
    busy = threading.BoundedSemaphore(1)
    busy.acquire()
    monkeypatch.setattr(audio.prompt, "_turns", busy)
    monkeypatch.setattr(audio.prompt, "_PATIENCE_S", 0.1)
    *early, last = offsets(data)
    for offset in early:
        uploads.take("u", name(data), len(data), offset, data[offset : offset + CHUNK_BYTES])
    with pytest.raises(Problem) as refused:
        uploads.take("u", name(data), len(data), last, data[last:])
    assert refused.value.kind.code == "service_busy"
    busy.release()
    monkeypatch.setattr(audio.prompt, "_PATIENCE_S", 20)
    done = uploads.look("u", name(data))
    assert isinstance(done, Finished)
    assert done.seconds == pytest.approx(5.5, abs=0.01)
