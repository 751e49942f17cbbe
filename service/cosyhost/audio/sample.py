"""What the checks of a release let an engine speak: a sentence, and a prompt of nobody's voice."""

from __future__ import annotations

import io

import numpy as np
import soundfile

SENTENCE = "你好，很高兴为你服务。"
SAMPLE_RATE_HZ = 24_000
_SECONDS = 4.0
_PITCH_HZ = 140.0
_HARMONICS = 24
_SYLLABLES_HZ = 4.0


def sample_prompt() -> bytes:
    """A mono 16-bit WAV of 4 s at 24 kHz: a gliding harmonic tone in the rhythm of syllables.

    A prompt of no speech is enough for cross_lingual, where the prompt gives the timbre only.
    """
    time_s = np.arange(int(_SECONDS * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    pitch = _PITCH_HZ * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time_s))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE_HZ
    tone = sum(np.sin(n * phase) / n for n in range(1, _HARMONICS + 1))
    shaped = tone * (0.15 + 0.85 * np.sin(np.pi * _SYLLABLES_HZ * time_s) ** 2)
    target = io.BytesIO()
    soundfile.write(target, 0.5 * shaped / np.abs(shaped).max(), SAMPLE_RATE_HZ, format="WAV")
    return target.getvalue()
