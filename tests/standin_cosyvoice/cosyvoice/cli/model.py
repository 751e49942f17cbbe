"""STAND-IN for CosyVoice3Model: the same threads, tables and traps around a tone generator."""

from __future__ import annotations

import threading
import time
import uuid as uuids
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..llm.llm import LanguageModel
from ..tensor import Array, Tensor

SAMPLE_RATE = 24_000
SAMPLES_PER_TOKEN = SAMPLE_RATE // 25
_NO_TOKENS = Tensor(np.zeros((1, 0), dtype=np.int32))


class Estimator:
    """STAND-IN for the flow's network, a module that takes hooks."""

    def __init__(self) -> None:
        self._hooks: list[Callable[[Any, Any], Any]] = []

    def register_forward_pre_hook(self, hook: Callable[[Any, Any], Any]) -> None:
        self._hooks.append(hook)

    def __call__(self) -> None:
        for hook in self._hooks:
            hook(self, ())
        time.sleep(0.0005)


class Decoder:
    """STAND-IN for the flow's decoder."""

    def __init__(self) -> None:
        self.estimator = Estimator()


class Flow:
    """STAND-IN for the flow: ten steps, then a tone at the prompt's pitch."""

    pre_lookahead_len = 3
    token_mel_ratio = 2

    def __init__(self) -> None:
        self.decoder = Decoder()

    def inference(self, tokens: list[int], embedding: Tensor) -> Array:
        """Samples of shape [tokens * 960]; they begin and end anywhere but at zero."""
        if not tokens:
            raise RuntimeError("shape '[1, 0, -1]' is invalid for input of size 0")
        for _ in range(10):
            self.decoder.estimator()
        hertz = float(embedding.numpy().mean())
        times = np.arange(len(tokens) * SAMPLES_PER_TOKEN) / SAMPLE_RATE
        loudness = np.repeat(np.asarray(tokens) % 7 / 70 + 0.3, SAMPLES_PER_TOKEN)
        return (loudness * np.cos(2 * np.pi * hertz * times)).astype(np.float32)


class CosyVoice3Model:
    """STAND-IN. Not safe for concurrent use; abandoned requests leak; the hop is never reset."""

    def __init__(self, llm: LanguageModel, flow: Flow, fp16: bool) -> None:
        self.llm = llm
        self.flow = flow
        self.fp16 = fp16
        self.token_hop_len = 25
        self.token_max_hop_len = 4 * self.token_hop_len
        self.stream_scale_factor = 2
        self.lock = threading.Lock()
        self.tts_speech_token_dict: dict[str, list[int]] = {}
        self.llm_end_dict: dict[str, bool] = {}
        self.hift_cache_dict: dict[str, Any] = {}
        self.silent_tokens = [1, 2, 28, 29]
        self.broken_sound = False

    def llm_job(
        self,
        text: Tensor,
        prompt_text: Tensor,
        llm_prompt_speech_token: Tensor,
        llm_embedding: Tensor,
        uuid: str,
    ) -> None:
        """The language model's thread; when it dies nobody is told."""
        silent = 0
        for token in self.llm.inference(
            text=text,
            prompt_text=prompt_text,
            prompt_speech_token=llm_prompt_speech_token,
            uuid=uuid,
        ):
            silent = silent + 1 if token in self.silent_tokens else 0
            if silent > 5:
                continue
            self.tts_speech_token_dict[uuid].append(token)
        self.llm_end_dict[uuid] = True

    def token2wav(self, tokens: list[int], embedding: Tensor, uuid: str) -> Tensor:
        """The sound of all tokens but what was given before."""
        sound = self.flow.inference(tokens, embedding)
        if self.broken_sound:
            sound[len(sound) // 2 :] = np.nan
        given = self.hift_cache_dict[uuid] or 0
        self.hift_cache_dict[uuid] = len(sound)
        return Tensor(sound[None, given:])

    def tts(
        self,
        text: Tensor,
        flow_embedding: Tensor,
        llm_embedding: Tensor,
        prompt_text: Tensor = _NO_TOKENS,
        llm_prompt_speech_token: Tensor = _NO_TOKENS,
        stream: bool = False,
        speed: float = 1.0,
        **_: Any,
    ) -> Iterator[dict[str, Tensor]]:
        """Sound as it is made when `stream`, else all at once."""
        request = str(uuids.uuid1())
        with self.lock:
            self.tts_speech_token_dict[request], self.llm_end_dict[request] = [], False
            self.hift_cache_dict[request] = None
        thread = threading.Thread(
            target=self.llm_job,
            args=(text, prompt_text, llm_prompt_speech_token, llm_embedding, request),
        )
        thread.start()
        if stream:
            offset = 0
            while True:
                time.sleep(0.1)
                ready = len(self.tts_speech_token_dict[request]) - offset
                if ready >= self.token_hop_len + self.flow.pre_lookahead_len:
                    offset += self.token_hop_len
                    tokens = self.tts_speech_token_dict[request][:offset]
                    sound = self.token2wav(tokens, flow_embedding, request)
                    grown = self.token_hop_len * self.stream_scale_factor
                    self.token_hop_len = min(self.token_max_hop_len, grown)
                    yield {"tts_speech": sound.cpu()}
                left = len(self.tts_speech_token_dict[request]) - offset
                enough = self.token_hop_len + self.flow.pre_lookahead_len
                if self.llm_end_dict[request] and left < enough:
                    break
        thread.join()
        assert speed == 1.0 or not stream, "speed change only support non-stream inference mode"
        sound = self.token2wav(self.tts_speech_token_dict[request], flow_embedding, request)
        if speed != 1.0:
            whole = sound.numpy()[0]
            places = np.arange(0, len(whole), speed)
            sound = Tensor(np.interp(places, np.arange(len(whole)), whole)[None].astype("f4"))
        yield {"tts_speech": sound.cpu()}
        with self.lock:
            self.tts_speech_token_dict.pop(request)
            self.llm_end_dict.pop(request)
            self.hift_cache_dict.pop(request)
