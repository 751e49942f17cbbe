"""The engine behind a server: vLLM-Omni speaks for many jobs at once, and this asks it to.

Written for vLLM-Omni 0.30: https://docs.vllm.ai/projects/vllm-omni/en/stable/serving/speech_api/
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import tempfile
import time
from collections.abc import AsyncGenerator, Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from cosyhost import config, text
from cosyhost.engines.aside import PULSE_S
from cosyhost.engines.interface import Speech
from cosyhost.engines.segments import filled
from cosyhost.engines.sound import NO_SAMPLES, Finish, Pcm, check_prompt, write_vowel
from cosyhost.errors import (
    ENGINE_FAILED,
    ENGINE_STALLED,
    ENGINE_UNREACHABLE,
    MODE_NEEDS_PROMPT_TEXT,
    MODE_UNAVAILABLE,
    TEXT_NO_WORDS,
    Problem,
)

log = logging.getLogger(__name__)

# The server takes minutes to load; a worker that waits longer is started again by systemd.
_HEALTH_WAIT_S = 20.0
# No byte for so long: with a full batch the first one may take a while.
_SILENCE_S = 60.0
_CONNECT_S = 3.0


class VllmOmni:
    """A vLLM-Omni server with CosyVoice3 in it.

    It needs a transcript and ignores instructions without a word, so zero_shot is all it does.
    """

    name = "vllm_omni"
    modes = frozenset({"zero_shot"})
    preview = False
    sample_rate = 24_000

    def __init__(self, settings: config.Engine) -> None:
        self._url = settings.url.rstrip("/")

    def load(self) -> None:
        """See `Engine.load`. Waits for the server's health for 20 s at most."""
        deadline = time.monotonic() + _HEALTH_WAIT_S
        while reason := self._ailing():
            if time.monotonic() > deadline:
                raise Problem(ENGINE_UNREACHABLE, url=self._url, reason=reason)
            time.sleep(0.5)
        with tempfile.TemporaryDirectory() as folder:
            hum = Path(folder) / "hum.wav"
            write_vowel(hum)
            for _ in self.speak(Speech("zero_shot", "你好。", hum, "嗯。", "", 1.0, 0)):
                pass

    def _ailing(self) -> str:
        """Why the server cannot be used; empty when it can."""
        try:
            status = httpx.get(f"{self._url}/health", timeout=_CONNECT_S).status_code
        except httpx.HTTPError as error:
            return type(error).__name__
        return "" if status == httpx.codes.OK else f"/health says {status}"

    def speak(self, speech: Speech) -> Generator[Pcm, None, None]:
        """See `Engine.speak`. Closing the generator closes the connection, which ends the request.

        The same seed gives nearly the same sound: what else is in the server's batch changes the
        rounding.
        """
        self._check(speech)
        sent = {
            "ref_audio": _data_uri(speech.prompt_audio),
            "ref_text": speech.prompt_text.strip(),
            "response_format": "pcm",
        }
        if speech.speed == 1.0:
            sent["stream_format"] = "audio"
        empty = True
        for number, segment in enumerate(filled(speech.text)):
            empty = False
            wish = {**sent, "input": segment, "seed": (speech.seed + number) % 2**31}
            if speech.speed != 1.0:
                wish["speed"] = speech.speed
            yield from self._segment(wish)
        if empty:
            raise Problem(TEXT_NO_WORDS)

    def _check(self, speech: Speech) -> None:
        if speech.mode not in self.modes:
            raise Problem(MODE_UNAVAILABLE, mode=speech.mode, others=", ".join(self.modes))
        for words in (speech.text, speech.prompt_text):
            text.refuse_control_tokens(words)
        if not text.has_words(speech.prompt_text):
            raise Problem(MODE_NEEDS_PROMPT_TEXT)
        check_prompt(speech.prompt_audio)

    def _segment(self, wish: dict[str, Any]) -> Iterator[Pcm]:
        finish = Finish(self.sample_rate)
        with contextlib.closing(_pulsed(self._bytes(wish))) as pieces:
            for data in pieces:
                if data is None:
                    yield NO_SAMPLES
                else:
                    yield finish.add(np.frombuffer(data, dtype="<i2") / np.float32(32768))
        yield finish.end()

    async def _bytes(self, wish: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        """Whole 16-bit samples as they arrive.

        Raises:
            Problem: ENGINE_UNREACHABLE, ENGINE_STALLED or ENGINE_FAILED with the server's status;
                never its message, which may quote the text.
        """
        timeout = httpx.Timeout(_SILENCE_S, connect=_CONNECT_S)
        try:
            async with (
                httpx.AsyncClient(timeout=timeout, trust_env=False) as client,
                client.stream("POST", f"{self._url}/v1/audio/speech", json=wish) as response,
            ):
                if response.status_code in (429, 502, 503, 504):
                    reason = f"status {response.status_code}"
                    raise Problem(ENGINE_UNREACHABLE, url=self._url, reason=reason)
                if response.status_code != httpx.codes.OK:
                    reason = f"the server's status {response.status_code}"
                    raise Problem(ENGINE_FAILED, reason=reason)
                odd = b""
                async for data in response.aiter_bytes():
                    data = odd + data
                    whole = len(data) // 2 * 2
                    odd = data[whole:]
                    yield data[:whole]
        except httpx.ReadTimeout:
            raise Problem(ENGINE_STALLED, seconds=round(_SILENCE_S)) from None
        except httpx.RemoteProtocolError:
            raise Problem(ENGINE_FAILED, reason="the server broke off") from None
        except httpx.HTTPError as error:
            reason = type(error).__name__
            raise Problem(ENGINE_UNREACHABLE, url=self._url, reason=reason) from None


def _pulsed(pieces: AsyncGenerator[bytes, None]) -> Generator[bytes | None, None, None]:
    """The pieces as they come, and None at each pulse without one; closing this closes them."""
    loop = asyncio.new_event_loop()

    async def step() -> bytes | None:
        return await anext(pieces, None)

    coming = loop.create_task(step())
    try:
        while True:
            done, _ = loop.run_until_complete(asyncio.wait({coming}, timeout=PULSE_S))
            if not done:
                yield None
                continue
            if (piece := coming.result()) is None:
                return
            coming = loop.create_task(step())
            yield piece
    finally:
        coming.cancel()
        loop.run_until_complete(asyncio.gather(coming, return_exceptions=True))
        loop.run_until_complete(pieces.aclose())
        loop.close()


def _data_uri(path: Path) -> str:
    """The prompt inside the request: the server must fetch nothing."""
    return "data:audio/wav;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
