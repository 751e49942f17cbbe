"""Outputs: 16-bit mono PCM wrapped or encoded into the formats OpenAI's clients ask for."""

from __future__ import annotations

import io
import struct

import numpy as np
import numpy.typing as npt
import soundfile

from cosyhost import tags
from cosyhost.labels import Label

MEDIA_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "pcm": "audio/pcm",
}
_LIBSNDFILE = {"flac": ("FLAC", "PCM_16"), "mp3": ("MP3", None), "opus": ("OGG", "OPUS")}
_UNKNOWN_LENGTH = 0xFFFFFFFF
# Opus knows these rates only (RFC 6716, 2.1.3).
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)


def wav_header(sample_rate: int, label: Label, pcm_bytes: int | None = None) -> bytes:
    """A RIFF header for 16-bit mono PCM, with its label before the sound.

    With `pcm_bytes` None the length is left open, as streams do: both sizes are 0xFFFFFFFF, and a
    player reads to the end.
    """
    head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, sample_rate, sample_rate * 2, 2, 16)
    head += tags.wav_chunks(label, sample_rate)
    data_size = _UNKNOWN_LENGTH if pcm_bytes is None else pcm_bytes
    riff_size = _UNKNOWN_LENGTH if pcm_bytes is None else len(head) + 8 + pcm_bytes
    return b"RIFF" + struct.pack("<I", riff_size) + head + b"data" + struct.pack("<I", data_size)


def encode(pcm: bytes, sample_rate: int, response_format: str, label: Label) -> bytes:
    """Encode 16-bit little-endian mono PCM.

    Args:
        pcm: samples, two bytes each.
        sample_rate: in Hz.
        response_format: a key of `MEDIA_TYPES`.
        label: written into every format that has tags (all but pcm).
    """
    if response_format == "pcm":
        return pcm
    if response_format == "wav":
        return wav_header(sample_rate, label, len(pcm)) + pcm
    samples = np.frombuffer(pcm, dtype="<i2")
    if response_format == "opus" and sample_rate not in _OPUS_RATES:
        samples, sample_rate = _to_24k(samples, sample_rate), 24000
    container, subtype = _LIBSNDFILE[response_format]
    target = io.BytesIO()
    with soundfile.SoundFile(
        target, "w", samplerate=sample_rate, channels=1, format=container, subtype=subtype
    ) as file:
        file.write(samples)
    return _tagged(target.getvalue(), response_format, label)


def _tagged(data: bytes, response_format: str, label: Label) -> bytes:
    if response_format == "flac":
        return tags.tag_flac(data, label)
    if response_format == "opus":
        return tags.tag_opus(data, label)
    return tags.id3(label) + data


def _to_24k(samples: npt.NDArray[np.int16], sample_rate: int) -> npt.NDArray[np.int16]:
    """Linear resampling to 24 kHz: only the preview engine's 22.05 kHz needs it."""
    times = np.arange(int(len(samples) * 24000 / sample_rate)) * (sample_rate / 24000)
    resampled: npt.NDArray[np.float64] = np.interp(times, np.arange(len(samples)), samples)
    return resampled.astype(np.int16)
