"""Sounds for the browser tests: something like speech, exact in length, in any format."""

from __future__ import annotations

import numpy as np

from tests.prompts import Samples, encoded


def voice(seconds: float, rate: int = 48_000, channels: int = 2, seed: int = 1) -> Samples:
    """Syllables of a buzzing voice with pauses, shape [n, channels]; never silent for long."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.7 * t) + seed
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    buzz = sum(np.sin(k * phase) / k for k in range(1, 24))
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * t) + 0.4, 0, None)
    mono = 0.12 * buzz * syllables + 0.002 * rng.standard_normal(len(t))
    return np.stack([mono] * channels, axis=1).astype(np.float32)


def wav(seconds: float, rate: int = 48_000, channels: int = 2, seed: int = 1) -> bytes:
    """The voice as a 16-bit WAV file."""
    return encoded(voice(seconds, rate, channels, seed), rate, "WAV", "PCM_16")
