"""STAND-IN for the front end: a character is a text token, and a prompt is its mean and pitch."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ..llm.llm import END_OF_PROMPT
from ..tensor import Tensor

_MARK = "<|endofprompt|>"


class FrontEnd:
    """STAND-IN for CosyVoiceFrontEnd."""

    def __init__(self) -> None:
        self.spk2info: dict[str, dict[str, Tensor]] = {}
        self.prompts_read = 0

    def text_normalize(self, text: str, split: bool = True, text_frontend: bool = True) -> Any:
        """Segments of about 80 characters; text with control tokens passes whole, as upstream."""
        if "<|" in text and "|>" in text:
            text_frontend = False
        if not text_frontend or not text:
            return [text] if split else text
        text = text.strip().replace("\n", "")
        if not split:
            return text
        segments = [""]
        for sentence in re.split(r"(?<=[。！？.!?])", text):
            if len(segments[-1]) + len(sentence) > 80:
                segments.append("")
            segments[-1] += sentence
        return [segment for segment in segments if _spoken(segment)]

    def _extract_text_token(self, text: str) -> tuple[Tensor, Tensor]:
        codes: list[int] = []
        for number, part in enumerate(text.split(_MARK)):
            codes += [END_OF_PROMPT] if number else []
            codes += [ord(char) for char in part]
        return _ints(codes), _ints([len(codes)])

    def frontend_zero_shot(
        self,
        tts_text: str,
        prompt_text: str,
        prompt_wav: Any,
        resample_rate: int,
        zero_shot_spk_id: str,
    ) -> dict[str, Tensor]:
        """What the model takes; a known speaker's entry wins over the prompt text given here.

        The entry itself is handed on, and so written into, as some versions of upstream do it.
        """
        if zero_shot_spk_id:
            entry = self.spk2info[zero_shot_spk_id]
        else:
            entry = self._extract(prompt_text, prompt_wav)
        entry["text"], entry["text_len"] = self._extract_text_token(tts_text)
        return entry

    def _extract(self, prompt_text: str, prompt_wav: Any) -> dict[str, Tensor]:
        if not isinstance(prompt_wav, (str, Path)):
            raise TypeError(f"Invalid file: {prompt_wav!r}")
        self.prompts_read += 1
        sound, rate = soundfile.read(prompt_wav, dtype="float32", always_2d=True)
        sound = sound.mean(axis=1)
        assert rate >= 16_000, f"wav sample rate {rate} must be greater than 16000"
        assert len(sound) / rate <= 30, "do not support extract speech token longer than 30s"
        if len(sound) / rate < 0.1:
            raise RuntimeError("Kernel size can't be greater than actual input size")
        tokens = _ints(np.zeros(int(len(sound) / rate * 25), dtype=int).tolist())
        mel = Tensor(np.zeros((1, tokens.shape[1] * 2, 80), dtype=np.float32))
        crossings = float(np.mean(np.diff(np.signbit(sound)))) * rate / 2
        embedding = Tensor(np.full((1, 192), np.clip(crossings, 60, 400), dtype=np.float32))
        prompt, prompt_len = self._extract_text_token(prompt_text)
        return {
            "prompt_text": prompt,
            "prompt_text_len": prompt_len,
            "llm_prompt_speech_token": tokens,
            "llm_prompt_speech_token_len": _ints([tokens.shape[1]]),
            "flow_prompt_speech_token": tokens,
            "flow_prompt_speech_token_len": _ints([tokens.shape[1]]),
            "prompt_speech_feat": mel,
            "prompt_speech_feat_len": _ints([mel.shape[1]]),
            "llm_embedding": embedding,
            "flow_embedding": embedding,
        }

    def frontend_cross_lingual(
        self, tts_text: str, prompt_wav: Any, resample_rate: int, zero_shot_spk_id: str
    ) -> dict[str, Tensor]:
        """Without the prompt's words and tokens for the language model."""
        entry = self.frontend_zero_shot(tts_text, "", prompt_wav, resample_rate, zero_shot_spk_id)
        for name in ("prompt_text", "llm_prompt_speech_token"):
            del entry[name], entry[name + "_len"]
        return entry

    def frontend_instruct2(
        self,
        tts_text: str,
        instruct_text: str,
        prompt_wav: Any,
        resample_rate: int,
        zero_shot_spk_id: str,
    ) -> dict[str, Tensor]:
        """Without the prompt's speech tokens for the language model."""
        entry = self.frontend_zero_shot(
            tts_text, instruct_text, prompt_wav, resample_rate, zero_shot_spk_id
        )
        del entry["llm_prompt_speech_token"], entry["llm_prompt_speech_token_len"]
        return entry


def _ints(values: list[int]) -> Tensor:
    return Tensor(np.array([values], dtype=np.int32))


def _spoken(text: str) -> bool:
    return any(unicodedata.category(char)[0] in "LN" for char in text)
