"""Names that lead elsewhere, headers and sites that pretend, ids and hashes that are guessed."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
import time
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests import prompts
from tests.abuse.conftest import NEIGHBOUR, Chain
from tests.e2e import voice

NAMES = (
    "../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%252e%252e%252fetc", "..%c0%af..%c0%afetc",
    "..\\..\\etc", "a%00b", "%2e%2e", ".", "..", "/etc/passwd", "%2fetc%2fpasswd", "a%0d%0aX:y",
    "~root", "con", "a" * 300, "voices%2f..%2f..%2fx", "file:%2f%2f%2fetc%2fpasswd",
)  # fmt: skip
# What a page elsewhere can send without being asked for leave (Fetch: CORS-safelisted).
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def browser(chain: Chain) -> httpx.Client:
    """A visitor's client, at the door."""
    return httpx.Client(base_url=f"http://127.0.0.1:{chain.port}", timeout=60)


def tree(folder: Path) -> set[str]:
    """Every file below."""
    return {str(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_leads_nowhere_else(chain: Chain, browser: httpx.Client, name: str) -> None:
    before = tree(chain.folder.parent)
    for path in ("/v1/audio/voices/{}/audio", "/v1/uploads/{}", "/v1/jobs/{}", "/v1/jobs/{}/audio",
                 "/studio/{}", "/assets/{}", "/static/{}", "/gradio_api/file={}"):  # fmt: skip
        status = chain.status(path.format(name.replace("\\", "%5c")))
        assert status < 500, (path, status)
        if not name.startswith(("con", ".", "%2e", "~")):
            assert status >= 400, (path, status)
    for method in ("DELETE", "PATCH"):
        assert 400 <= chain.status(f"/v1/audio/voices/{name}x", method) < 500
    fields = {"name": name, "ref_text": prompts.TRANSCRIPT, "consent": "test"}
    made = browser.post(
        "/v1/audio/voices", data=fields, files={"audio_sample": (name, prompts.good())}
    )
    assert made.status_code < 500, made.text
    new = tree(chain.folder.parent) - before
    inside = (str(chain.folder / "data/voices"), str(chain.folder / "trail"))
    assert [path for path in new if not path.startswith(inside)] == []
    if made.status_code == 200:
        stored = made.json()["voice"]["name"]
        for listed in browser.get("/v1/audio/voices").json()["voices"]:
            assert listed.isprintable()
        browser.delete(f"/v1/audio/voices/{quote(stored, safe='')}")


def test_an_address_that_is_claimed_is_not_believed(chain: Chain, browser: httpx.Client) -> None:
    forged = {
        "X-Forwarded-For": "203.0.113.7", "X-Real-IP": "203.0.113.7",
        "True-Client-IP": "203.0.113.7",
        "Forwarded": "for=203.0.113.7;host=evil.example;proto=https",
        "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https",
        "X-Forwarded-Port": "8443", "X-Forwarded-Prefix": "/evil", "X-CosyHost-Upload-S": "999",
    }  # fmt: skip
    page = browser.get("/", headers=forged)
    assert page.status_code == 200
    assert "evil" not in page.text
    assert "Secure" not in page.headers["Set-Cookie"], "https was believed"
    said = browser.post(
        "/v1/audio/speech", headers=forged, json=voice.request(prompts.good(), consent="test")
    )
    assert said.status_code == 200, said.text
    trail = "".join(path.read_text("utf-8") for path in (chain.folder / "trail").glob("*.jsonl"))
    assert f'"{NEIGHBOUR}"' in trail
    assert "203.0.113.7" not in trail
    last = json.loads(chain.log.read_text("utf-8").splitlines()[-1])
    assert last["client"] == NEIGHBOUR


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://other.lan"},
    ],
)
def test_another_site_cannot_act_with_a_visitors_browser(
    chain: Chain, browser: httpx.Client, headers: dict[str, str]
) -> None:
    """Every way of the API that changes something, as a page elsewhere can send it."""
    ways = browser.get("/openapi.json").json()["paths"]
    tried = 0
    for path, methods in ways.items():
        for method in set(methods) & {"post", "put", "patch", "delete"}:
            answer = browser.request(
                method, path.replace("{", "").replace("}", ""), content=b"a=b",
                headers={"Content-Type": FORM, **headers},
            )  # fmt: skip
            assert answer.status_code == 403, (method, path, answer.status_code)
            assert answer.json()["code"] == "cross_origin", (method, path)
            tried += 1
    assert tried >= 8
    assert browser.post("/gradio_api/queue/join", headers=headers, json={}).status_code == 403
    assert browser.get("/v1/models", headers=headers).status_code == 200
    live = f"ws://127.0.0.1:{chain.port}/v1/audio/speech/live"
    with pytest.raises(InvalidStatus) as refused, connect(live, additional_headers=headers):
        pass
    assert refused.value.response.status_code == 403


def test_a_prompt_known_by_its_hash_is_nobodys_but_its_senders(
    chain: Chain, browser: httpx.Client
) -> None:
    """Who knows what somebody sent can neither use it nor learn that it is there."""
    data = prompts.good()
    sha256 = hashlib.sha256(data).hexdigest()
    step = 32_768
    for offset in range(0, len(data), step):
        sent = browser.patch(
            f"/v1/uploads/{sha256}", content=data[offset : offset + step],
            headers={"Upload-Offset": str(offset), "Upload-Length": str(len(data))},
        )  # fmt: skip
    assert sent.status_code == 200, sent.text
    assert browser.get(f"/v1/uploads/{sha256}").status_code == 200
    stranger = httpx.Client(base_url=browser.base_url, timeout=60)
    unknown = stranger.get(f"/v1/uploads/{'0' * 64}")
    guessed = stranger.get(f"/v1/uploads/{sha256}")
    assert (guessed.status_code, guessed.json()) == (unknown.status_code, unknown.json())
    body = {"input": "x.", "mode": "cross_lingual", "ref_upload": sha256, "consent": "test"}
    assert stranger.post("/v1/audio/speech", json=body).json()["code"] == "upload_unknown"


def test_the_id_of_a_job_is_not_to_be_guessed(chain: Chain, browser: httpx.Client) -> None:
    body = voice.request(prompts.good(), consent="test")
    ids = [browser.post("/v1/jobs", json=body).json().get("id", "") for _ in range(3)]
    ids = [one for one in ids if one]
    assert ids
    # As many bits as its letters can hold, at most; version and variant of a UUID are 6 of them.
    assert all(len(one.replace("-", "")) * math.log2(16) - 6 >= 122 for one in ids)
    shared = sum(len({one[i] for one in ids}) == 1 for i in range(len(ids[0])))
    assert shared < len(ids[0]) / 2, "ids begin alike"
    took: dict[str, list[float]] = {}
    for _ in range(30):
        for what, one in {"near": ids[0][:-1] + "~", "far": "f" * len(ids[0])}.items():
            began = time.perf_counter()
            answer = browser.get(f"/v1/jobs/{one}")
            took.setdefault(what, []).append(time.perf_counter() - began)
            assert answer.status_code in (404, 422)
    near, far = (statistics.median(took[what]) for what in ("near", "far"))
    print(f"an id that is nearly right {near * 1e3:.2f} ms, one that is not {far * 1e3:.2f} ms")
