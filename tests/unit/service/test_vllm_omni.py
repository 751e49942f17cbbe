"""The client of a vLLM-Omni server, against a stand-in that speaks its API over real HTTP."""

from __future__ import annotations

import base64
import dataclasses
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from cosyhost import config, engines
from cosyhost.engines import Engine, Speech, vllm_omni
from cosyhost.errors import Problem
from tests import prompts, standin_vllm_omni
from tests.standin_vllm_omni import Server
from tests.unit.service.conftest import free_port


@pytest.fixture
def server() -> Iterator[Server]:
    with standin_vllm_omni.served() as running:
        yield running


def engine_at(url: str) -> Engine:
    return engines.create(config.Engine("vllm_omni", "", url, "none"))


@pytest.fixture
def engine(server: Server) -> Engine:
    return engine_at(server.url)


@pytest.fixture
def wish(tmp_path: Path) -> Speech:
    path = tmp_path / "prompt.wav"
    path.write_bytes(prompts.good())
    return Speech("zero_shot", "你好，世界。", path, prompts.TRANSCRIPT, "", 1.0, 3)


def test_what_is_asked_is_what_the_api_documents(
    engine: Engine, server: Server, wish: Speech
) -> None:
    sound = np.concatenate(list(engine.speak(wish)))
    (asked,) = server.asked
    assert base64.b64decode(asked.pop("ref_audio").removeprefix("data:audio/wav;base64,")) == (
        wish.prompt_audio.read_bytes()
    )
    assert asked == {
        "input": "你好，世界。",
        "ref_text": prompts.TRANSCRIPT,
        "response_format": "pcm",
        "stream_format": "audio",
        "seed": 3,
    }
    # Samples cut in two on the way are whole again: a tone, as loud as it was sent.
    assert len(sound) == int(6 * 0.2 * 24_000)
    assert 7990 <= np.abs(sound).max() <= 8000
    assert np.abs(np.diff(sound)).max() < 1000


def test_another_speed_is_asked_for_without_streaming(
    engine: Engine, server: Server, wish: Speech
) -> None:
    list(engine.speak(dataclasses.replace(wish, speed=1.5)))
    assert server.asked[0]["speed"] == 1.5
    assert "stream_format" not in server.asked[0]


def test_a_long_text_is_asked_for_in_portions(engine: Engine, server: Server, wish: Speech) -> None:
    list(engine.speak(dataclasses.replace(wish, text="今天天气很好，我们去公园。" * 20)))
    assert len(server.asked) == 4
    assert [asked["seed"] for asked in server.asked] == [3, 4, 5, 6]


@pytest.mark.parametrize("mode", ["cross_lingual", "instruct"])
def test_what_the_server_would_silently_get_wrong_is_never_sent(
    engine: Engine, server: Server, wish: Speech, mode: str
) -> None:
    with pytest.raises(Problem) as refused:
        list(engine.speak(dataclasses.replace(wish, mode=mode, instruction="请大声。")))
    assert refused.value.kind.code == "mode_unavailable"
    assert server.asked == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("BUSY", "engine_unreachable"),
        ("FAILS", "engine_failed"),
        ("BREAKS", "engine_failed"),
        ("MUTE", "engine_no_speech"),
    ],
)
def test_a_fault_has_its_name_and_not_the_text(
    engine: Engine, wish: Speech, words: str, code: str
) -> None:
    with pytest.raises(Problem) as failed:
        list(engine.speak(dataclasses.replace(wish, text=f"紫色长颈鹿 {words} 你好")))
    assert failed.value.kind.code == code
    assert "长颈鹿" not in str(failed.value)


def test_closing_closes_the_connection(engine: Engine, server: Server, wish: Speech) -> None:
    endless = dataclasses.replace(wish, text="ENDLESS 你好")
    chunks = cast("Generator[np.ndarray, None, None]", engine.speak(endless))
    while not len(next(chunks)):
        pass
    chunks.close()
    assert server.given_up.wait(10)


def test_a_silent_server_is_given_up(
    engine: Engine, wish: Speech, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setattr(vllm_omni, "_SILENCE_S", 0.2)
    server.pause_s = 1.0
    with pytest.raises(Problem) as failed:
        for _ in engine.speak(wish):
            pass
    assert failed.value.kind.code == "engine_stalled"


def test_an_absent_server_is_named(wish: Speech, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_omni, "_HEALTH_WAIT_S", 0.0)
    engine = engine_at(f"http://127.0.0.1:{free_port()}")
    for attempt in (engine.load, lambda: list(engine.speak(wish))):
        with pytest.raises(Problem, match="ConnectError") as failed:
            attempt()
        assert failed.value.kind.code == "engine_unreachable"


def test_a_server_that_still_loads_is_waited_for(server: Server) -> None:
    server.healthy = False
    threading.Timer(0.2, setattr, (server, "healthy", True)).start()
    engine_at(server.url).load()
    assert len(server.asked) == 1
