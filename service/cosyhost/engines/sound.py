"""From a model's samples to the PCM that leaves: checked, without clicks, as loud as they came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from cosyhost.errors import (
    ENGINE_BAD_SOUND,
    ENGINE_NO_SPEECH,
    PROMPT_LOW_RATE,
    PROMPT_TOO_LONG,
    PROMPT_TOO_SHORT,
    Problem,
)

Pcm = npt.NDArray[np.int16]
NO_SAMPLES: Pcm = np.zeros(0, dtype=np.int16)

# Segments begin and end away from zero, which is heard as a click (upstream #1786).
_FADE_S = 0.005
# What upstream can read; shorter prompts fail inside its filters.
_PROMPT_MIN_S, _PROMPT_MAX_S, _PROMPT_MIN_HZ = 0.5, 30.0, 16_000


class Finish:
    """One segment's samples become 16-bit PCM, with 5 ms of fade at both of its ends.

    The gain is one; what exceeds full scale is clipped. The last 5 ms are held back until the end
    is known.
    """

    def __init__(self, sample_rate: int) -> None:
        self._ramp = np.linspace(0, 1, int(_FADE_S * sample_rate), dtype=np.float32)
        self._held = np.zeros(0, dtype=np.float32)
        self._begun = False

    def add(self, chunk: npt.NDArray[Any]) -> Pcm:
        """What can leave after this chunk of shape [samples], in [-1, 1].

        Raises:
            Problem: ENGINE_BAD_SOUND when a sample is no number.
        """
        if not np.isfinite(chunk).all():
            raise Problem(ENGINE_BAD_SOUND)
        size = len(self._ramp)
        self._held = np.concatenate([self._held, chunk], dtype=np.float32)
        if len(self._held) <= 2 * size:
            return NO_SAMPLES
        ready, self._held = self._held[:-size], self._held[-size:]
        if not self._begun:
            ready[:size] *= self._ramp
        self._begun = True
        return _pcm(ready)

    def end(self) -> Pcm:
        """What is left.

        Raises:
            Problem: ENGINE_NO_SPEECH when there was no sample at all.
        """
        size, last = len(self._ramp), self._held
        if not len(last):
            raise Problem(ENGINE_NO_SPEECH)
        if not self._begun:
            last[:size] *= self._ramp[: len(last)]
        last[-size:] *= self._ramp[::-1][-len(last) :]
        return _pcm(last)


def _pcm(samples: npt.NDArray[np.float32]) -> Pcm:
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)


def check_prompt(path: Path) -> None:
    """Refuse a prompt audio that an engine would only meet with an assertion.

    Raises:
        Problem: PROMPT_TOO_SHORT, PROMPT_TOO_LONG or PROMPT_LOW_RATE.
    """
    info = soundfile.info(path)
    if info.samplerate < _PROMPT_MIN_HZ:
        raise Problem(PROMPT_LOW_RATE, rate=info.samplerate, low=_PROMPT_MIN_HZ)
    if info.frames < _PROMPT_MIN_S * info.samplerate:
        seconds = info.frames / info.samplerate
        raise Problem(PROMPT_TOO_SHORT, seconds=seconds, low=_PROMPT_MIN_S)
    if info.frames > _PROMPT_MAX_S * info.samplerate:
        raise Problem(PROMPT_TOO_LONG, high=_PROMPT_MAX_S)


def write_vowel(path: Path) -> None:
    """A prompt that is nobody's voice, for a warm-up: 3 s of a hummed tone at 24 kHz."""
    times = np.arange(3 * 24_000) / 24_000
    pitch = 2 * np.pi * np.cumsum(120 + 10 * np.sin(2 * np.pi * 2 * times)) / 24_000
    tone = sum(np.sin(n * pitch) / n for n in range(1, 12))
    loudness = 0.1 * (1 - np.cos(2 * np.pi * 3 * times))
    soundfile.write(path, np.asarray(tone) * loudness, 24_000)
