"""STAND-IN for the language model: yields speech tokens at a steady pace, or fails as asked.

Its randomness is numpy's global generator, seeded by whoever wants the same tokens again. Words in
the text ask for a fault; README.md lists them.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import numpy as np

from ..tensor import Tensor

END_OF_PROMPT = 151_646
SPEECH_TOKENS = 6561
SILENT_TOKEN = 1
# 25 tokens are one second of sound.
TOKEN_S = float(os.environ.get("COSYVOICE_STANDIN_TOKEN_S", "0.001"))


class OutOfMemoryError(RuntimeError):
    """STAND-IN for torch.OutOfMemoryError, known by its name."""


class Cache:
    """STAND-IN for the cache of transformers."""

    def __init__(self, length: int) -> None:
        self._length = length

    def get_seq_length(self) -> int:
        """How many positions it holds."""
        return self._length


class Encoder:
    """STAND-IN for Qwen2Encoder: like transformers since 4.53 it sees what the mask shows it."""

    def __init__(self) -> None:
        self.blind_steps = 0

    def forward_one_step(
        self, xs: Tensor, masks: Tensor, cache: Cache | None = None
    ) -> tuple[Tensor, Cache]:
        """One more position; counts the steps that were shown less than all positions."""
        length = xs.shape[1] + (cache.get_seq_length() if cache else 0)
        self.blind_steps += masks.shape[-1] != length
        return xs, Cache(length)


class LanguageModel:
    """STAND-IN for CosyVoice3LM."""

    def __init__(self) -> None:
        self.inferences = 0
        self.llm = Encoder()

    def inference(
        self, text: Tensor, prompt_text: Tensor, prompt_speech_token: Tensor, uuid: str = ""
    ) -> Iterator[int]:
        """Speech tokens, eight for each token of the text; at most 20 as upstream has it."""
        self.inferences += 1
        codes = [*prompt_text.numpy()[0].tolist(), *text.numpy()[0].tolist()]
        assert END_OF_PROMPT in codes, "<|endofprompt|> not detected in CosyVoice3 text"
        said = "".join(chr(code) for code in codes if code != END_OF_PROMPT)
        if "ZEROTOKENSALWAYS" in said or ("ZEROTOKENS" in said and np.random.random() < 0.5):
            return
        spoken = text.shape[1]
        inputs, cache = Tensor(np.zeros((1, len(codes)))), None
        for number in range(spoken * (200 if "ENDLESS" in said else 8)):
            time.sleep(TOKEN_S)
            # As upstream does it: the mask of what is new, and not of what the cache holds.
            mask = Tensor(np.tri(inputs.shape[1], dtype=bool)[None])
            _, cache = self.llm.forward_one_step(inputs, mask, cache)
            inputs = Tensor(np.zeros((1, 1)))
            # For ever, but a test run must end.
            while "HANGS" in said and threading.main_thread().is_alive():
                time.sleep(0.05)
            if "LLMDIES" in said and number == 10:
                raise RuntimeError("expected all tensors to be on the same device: " + said)
            if "OUTOFMEMORY" in said and number == 10:
                raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
            if "CUDADIES" in said and number == 10:
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            yield SILENT_TOKEN if "SILENT" in said else int(np.random.randint(3, SPEECH_TOKENS))
