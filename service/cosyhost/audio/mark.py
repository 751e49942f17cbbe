"""The sign that can be heard: a machine speaks.

GB 45438-2025, 5.3 c), has a rhythm for it, "short long, short short": the letters A I in Morse. By
5.3 d) it stands at the beginning or at the end. Pitch, speed and loudness are ours: at 0.15 of full
scale it is about as loud as speech.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Sound and silence in Morse's units: a dash is three, so is what parts two letters.
RHYTHM = "10111000101"
UNIT_S = 0.08
_PAUSE_UNITS = 4
_TONE_HZ, _PEAK = 800, 0.15
# Softens where a tone begins and ends, which would click.
_RAMP_S = 0.008
SECONDS = UNIT_S * (len(RHYTHM) + _PAUSE_UNITS)


def sign(sample_rate: int, place: str) -> bytes:
    """The rhythm as 16-bit mono PCM, a pause between it and the speech.

    `place` is where it stands, start or end; none is no sound at all.
    """
    if place == "none":
        return b""
    unit = round(UNIT_S * sample_rate)
    ramp = max(1, round(_RAMP_S * sample_rate))
    keyed = np.repeat([float(key) for key in RHYTHM], unit)
    times = np.arange(len(keyed)) / sample_rate
    loudness = np.convolve(keyed, np.ones(ramp) / ramp, mode="same")
    tone = np.sin(2 * np.pi * _TONE_HZ * times) * loudness * _PEAK * 32767
    pause = np.zeros(_PAUSE_UNITS * unit)
    parts = [tone, pause] if place == "start" else [pause, tone]
    return bytes(np.concatenate(parts).astype("<i2").tobytes())


def without(samples: npt.NDArray[Any], sample_rate: int, place: str) -> npt.NDArray[Any]:
    """What is heard beside the sign."""
    size = len(sign(sample_rate, place)) // 2
    return samples[size:] if place == "start" else samples[: len(samples) - size]
