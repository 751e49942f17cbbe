"""Prompt audio for the tests: a real recording where there is one, and everything wrong with it."""

from __future__ import annotations

import io
import os
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

Samples = npt.NDArray[Any]

_SAMPLES = Path(os.environ.get("COSYHOST_SAMPLES", Path(__file__).parents[2] / "shared/samples"))
TRANSCRIPT = "希望你以后能够做的比我还好呦。"


def recording() -> Path | None:
    """A real recording that says `TRANSCRIPT` (3.5 s, 24 kHz), where the samples are at hand."""
    path = _SAMPLES / "zero_shot_prompt.wav"
    return path if path.exists() else None


def good() -> bytes:
    """A valid prompt as WAV: the recording, or espeak-ng saying the same."""
    if path := recording():
        return path.read_bytes()
    command = ["espeak-ng", "-v", "cmn", "--stdin", "--stdout"]
    spoken = subprocess.run(command, input=TRANSCRIPT.encode(), capture_output=True, check=True)
    samples = np.frombuffer(spoken.stdout[44:], dtype="<i2").astype(np.float32) / 32768
    return wav(samples, 22_050)


def samples() -> tuple[Samples, int]:
    """The valid prompt as samples, shape [n], and its rate in Hz."""
    data, rate = soundfile.read(io.BytesIO(good()), dtype="float32")
    return data, int(rate)


def wav(data: Samples, rate: int) -> bytes:
    """Samples as a 16-bit WAV file."""
    return encoded(data, rate, "WAV", "PCM_16")


def encoded(data: Samples, rate: int, container: str, subtype: str | None = None) -> bytes:
    """Samples as a file of any format libsndfile writes."""
    target = io.BytesIO()
    soundfile.write(target, data, rate, format=container, subtype=subtype)
    return target.getvalue()


def lasting(seconds: float) -> bytes:
    """The prompt repeated or cut to last exactly `seconds`."""
    data, rate = samples()
    return wav(np.resize(data, int(seconds * rate)), rate)


def silence() -> bytes:
    """Five seconds of a muted microphone: zeros with the last bit flickering."""
    noise = np.random.default_rng(1).integers(-1, 2, 5 * 24_000)
    return wav((noise / 32768).astype(np.float32), 24_000)


def clipped() -> bytes:
    """The prompt at 40 dB too much gain."""
    data, rate = samples()
    return wav(np.clip(data * 100, -1, 1), rate)


def low_rate() -> bytes:
    """The prompt at 8 kHz, as a telephone gives it."""
    data, rate = samples()
    times = np.arange(0, len(data), rate / 8000)
    return wav(np.interp(times, np.arange(len(data)), data).astype(np.float32), 8000)


def png() -> bytes:
    """A 1x1 PNG: what somebody renamed to .wav."""
    return bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c626001000000050001a5f645400000"
        "000049454e44ae426082"
    )


def noise_bytes(size: int = 100_000) -> bytes:
    """Random bytes."""
    return np.random.default_rng(2).bytes(size)


def of_size(size: int) -> bytes:
    """A file that begins like a WAV and has exactly `size` bytes."""
    head = b"RIFF" + struct.pack("<I", size - 8) + b"WAVE"
    return head + bytes(size - len(head))


def bad_prompts() -> dict[str, tuple[bytes, str]]:
    """Each wrong file by name, with the code of the problem it must meet."""
    whole = good()
    return {
        "one second": (lasting(1), "prompt_too_short"),
        "31 seconds": (lasting(31), "prompt_too_long"),
        "8 kHz": (low_rate(), "prompt_low_rate"),
        "silence": (silence(), "prompt_silent"),
        "clipped": (clipped(), "prompt_clipped"),
        "random bytes": (noise_bytes(), "prompt_not_audio"),
        "a PNG": (png(), "prompt_not_audio"),
        "cut in half": (whole[: len(whole) // 2], "prompt_truncated"),
        "zero bytes": (b"", "prompt_empty"),
    }
