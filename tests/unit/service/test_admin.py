"""The restart button: who may press it, and what a press leaves behind."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
import redis
from fastapi.testclient import TestClient

from cosyhost.config import Config, Studio
from cosyhost.jobs import Fleet, Unit
from cosyhost.web.app import create_app
from tests import prompts


@pytest.fixture
def asked(config_path: Path) -> Iterator[Path]:
    """The file that systemd watches; the running web process writes it."""
    file = config_path.parent / "restart"
    file.unlink(missing_ok=True)
    yield file
    file.unlink(missing_ok=True)


def test_the_state_is_there_with_its_seconds(service: httpx.Client) -> None:
    state = service.get("/v1/admin/state").json()
    assert (state["state"], state["problem"]) == ("ready", None)
    assert state["for_s"] >= 0
    assert state["children"] == 2
    assert state["units"] == {"stopping": 0, "loading": 0, "failed": 0, "ready": 1}


def test_a_press_writes_the_file_and_answers_with_the_state(
    service: httpx.Client, asked: Path
) -> None:
    answer = service.post("/v1/admin/restart")
    assert answer.status_code == 202
    assert answer.json()["state"] == "ready"
    assert asked.exists()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 202),
        ({"Origin": "HOST", "Sec-Fetch-Site": "same-origin"}, 202),
        ({"Origin": "HOST"}, 202),
    ],
)
def test_no_other_site_can_press_it(
    service: httpx.Client, asked: Path, headers: dict[str, str], status: int
) -> None:
    own = f"http://{service.base_url.host}:{service.base_url.port}"
    answer = service.post(
        "/v1/admin/restart",
        headers={name: value.replace("HOST", own) for name, value in headers.items()},
    )
    assert answer.status_code == status, answer.text
    assert asked.exists() == (status == 202)
    if status == 403:
        assert answer.json()["code"] == "cross_origin"


@pytest.mark.parametrize(
    ("button", "code"), [("nobody", "restart_not_allowed"), ("admin", "restart_needs_login")]
)
def test_it_is_refused_where_the_tier_has_none(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, button: str, code: str
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    studio = msgspec.convert({"restart_button": button}, Studio)
    with TestClient(create_app(msgspec.structs.replace(config, studio=studio), None)) as client:
        answer = client.post("/v1/admin/restart")
        assert (answer.status_code, answer.json()["code"]) == (403, code)
        assert "cosy-restart" not in client.get("/").text
    assert list(tmp_path.iterdir()) == []


def test_outside_systemd_it_says_what_to_do(config: Config) -> None:
    with TestClient(create_app(config, None)) as client:
        answer = client.post("/v1/admin/restart")
    assert (answer.status_code, answer.json()["code"]) == (503, "restart_unavailable")
    assert "playbooks/restart.yml" in answer.json()["hint"]


@pytest.fixture
def elsewhere(config: Config) -> Iterator[tuple[Config, Fleet]]:
    """A deployment of its own in the same Redis, without workers."""
    url = config.redis.url.removesuffix("/0") + "/2"
    other = msgspec.structs.replace(config, redis=msgspec.structs.replace(config.redis, url=url))
    client = redis.Redis.from_url(url)
    client.flushdb()
    yield other, Fleet(client)
    client.flushdb()


def unit(name: str, state: str, **more: object) -> Unit:
    fields = {"name": name, "state": state, "for_s": 3.0, "children": 0, "modes": ["zero_shot"]}
    return msgspec.convert(fields | more, Unit)


def test_the_state_is_the_most_concerning_one(elsewhere: tuple[Config, Fleet]) -> None:
    config, fleet = elsewhere
    with TestClient(create_app(config, None)) as client:
        assert client.get("/v1/admin/state").json()["state"] == "away"
        fleet.announce(unit("a/0", "ready", children=2))
        assert client.get("/v1/admin/state").json()["state"] == "ready"
        fleet.announce(unit("b/0", "failed", problem="engine_failed", for_s=40.0))
        state = client.get("/v1/admin/state").json()
        assert (state["state"], state["problem"]) == ("failed", "engine_failed")
        assert state["for_s"] >= 40
        fleet.announce(unit("a/1", "loading"))
        assert client.get("/v1/admin/state").json()["state"] == "loading"
        fleet.announce(unit("a/0", "stopping"))
        assert client.get("/v1/admin/state").json()["state"] == "stopping"
        assert 'cosyhost_worker_units{state="failed"} 1.0' in client.get("/metrics").text


def test_a_mode_that_no_worker_can_do_is_refused(
    elsewhere: tuple[Config, Fleet],
) -> None:
    config, fleet = elsewhere
    uri = "data:audio/wav;base64," + base64.b64encode(prompts.good()).decode()
    body = {"input": "你好", "ref_audio": uri, "instructions": "请用四川话表达。"}
    with TestClient(create_app(config, None)) as client:
        # With no worker at all a job waits: one may be on its way.
        assert client.post("/v1/jobs", json=body).status_code == 202
        fleet.announce(unit("a/0", "ready"))
        client.app.state.services.fleet._modes = (-10.0, None)  # type: ignore[attr-defined]
        answer = client.post("/v1/jobs", json=body)
        assert (answer.status_code, answer.json()["code"]) == (503, "mode_unavailable")
        assert "zero_shot" in answer.json()["hint"]
        assert answer.headers["retry-after"]
