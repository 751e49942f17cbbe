"""Text in as it is written, audio out as it is made, over one WebSocket."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from cosyhost.config import Config
from tests import prompts

VOICE = "live"


@pytest.fixture
def socket(service: httpx.Client, config: Config) -> Iterator[ClientConnection]:
    fields = {"name": VOICE, "ref_text": prompts.TRANSCRIPT}
    service.post("/v1/audio/voices", data=fields, files={"audio_sample": ("a.wav", prompts.good())})
    with connect(f"ws://{config.web.listen}:{config.web.port}/v1/audio/speech/live") as live:
        yield live


def hear(socket: ClientConnection) -> tuple[list[dict[str, Any]], bytes]:
    """Everything until the server closes: the messages, and the sound."""
    messages, sound = [], b""
    with contextlib.suppress(ConnectionClosed):
        while True:
            message = socket.recv(timeout=30)
            if isinstance(message, bytes):
                sound += message
            else:
                messages.append(json.loads(message))
    return messages, sound


def test_sentences_are_spoken_while_the_next_are_written(socket: ClientConnection) -> None:
    socket.send(json.dumps({"voice": VOICE}))
    socket.send(json.dumps({"text": "今天天气很好。我们"}))
    assert json.loads(socket.recv())["type"] == "start"
    assert isinstance(socket.recv(), bytes), "the first sentence is heard before the text ends"
    socket.send(json.dumps({"text": "去公园散步吧。And then home", "end": True}))
    messages, sound = hear(socket)
    assert [message["type"] for message in messages] == ["spoken", "spoken", "spoken", "done"]
    assert len(sound) > 22_050 * 2


@pytest.mark.parametrize(
    ("opening", "piece", "code"),
    [
        ({"voice": "nobody"}, {"text": "你好。", "end": True}, "voice_unknown"),
        ({"voice": VOICE}, {"text": "<|x|>。", "end": True}, "text_control_tokens"),
        ({"voice": VOICE}, {"text": 3}, "request_invalid"),
        ({"voice": 3}, {}, "request_invalid"),
        ({"voice": VOICE, "speed": 9}, {"text": "你好。"}, "speed_out_of_range"),
        ({"voice": VOICE}, {"text": "没有句号" * 200}, "text_too_long"),
    ],
)
def test_a_bad_message_is_answered_with_its_problem(
    socket: ClientConnection, opening: dict[str, Any], piece: dict[str, Any], code: str
) -> None:
    socket.send(json.dumps(opening))
    with contextlib.suppress(ConnectionClosed):  # a bad opening is refused at once
        socket.send(json.dumps(piece))
    messages, _ = hear(socket)
    assert messages[-1]["type"] == "problem"
    assert messages[-1]["problem"]["code"] == code


def test_a_text_without_words_is_no_failure(socket: ClientConnection) -> None:
    socket.send(json.dumps({"voice": VOICE}))
    socket.send(json.dumps({"text": "……。", "end": True}))
    messages, sound = hear(socket)
    assert messages == [{"type": "done"}]
    assert sound == b""
