"""Speaking through a tier's front door, and judging what comes back."""

from __future__ import annotations

import base64
import io
from typing import Any

import httpx
import numpy as np
import soundfile

from tests import prompts

# 60 characters, as the figure asks.
TEXT = (
    "收到好友从远方寄来的生日礼物，那份意外的惊喜与深深的祝福，"
    "让我心中充满了甜蜜的快乐，笑容如花儿般绽放。今天真的非常开心。"
)
# The longest text that is taken: some seconds of work even for the preview engine.
LONG_TEXT = "远方的朋友寄来一份礼物，大家都很高兴。" * 105


def data_uri(audio: bytes) -> str:
    """Prompt audio as the API takes it in JSON."""
    return "data:audio/wav;base64," + base64.b64encode(audio).decode()


def request(prompt: bytes, **fields: Any) -> dict[str, Any]:
    """A valid request for speech, with `fields` instead of its own."""
    body = {
        "input": TEXT,
        "ref_audio": data_uri(prompt),
        "ref_text": prompts.TRANSCRIPT,
        "consent": "a test's made-up voice",
    }
    return {**body, **fields}


def speak(client: httpx.Client, prompt: bytes, **fields: Any) -> httpx.Response:
    """The request, answered."""
    answer = client.post("/v1/audio/speech", json=request(prompt, **fields))
    assert answer.status_code == 200, answer.text
    return answer


def seconds(audio: bytes) -> float:
    """The length of audio that is no silence; a stream's WAV header may not know it."""
    if audio[:4] == b"RIFF" and audio[40:44] == b"\xff\xff\xff\xff":
        audio = audio[:40] + (len(audio) - 44).to_bytes(4, "little") + audio[44:]
    data, rate = soundfile.read(io.BytesIO(audio))
    assert np.abs(data).max() > 0.05, "silence"
    return len(data) / int(rate)


def plausible(audio_s: float, characters: int) -> bool:
    """Whether so many Chinese characters can take so long."""
    return 0.08 * characters < audio_s < 0.6 * characters
