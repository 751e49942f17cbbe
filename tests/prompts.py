"""Prompt audio for the tests: a real recording where there is one, and everything wrong with it."""

from __future__ import annotations

import io
import os
import struct
import subprocess
from collections.abc import Callable
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


def filmed(container: str, codec: str) -> bytes:
    """The prompt as a phone ("ipod", "aac") or a browser ("webm", "libopus") records it."""
    import av

    data, rate = samples()
    times = np.arange(int(len(data) * 48_000 / rate)) * rate / 48_000
    sound = np.interp(times, np.arange(len(data)), data).astype(np.float32)
    target = io.BytesIO()
    with av.open(target, "w", format=container) as file:
        stream = file.add_stream(codec, rate=48_000)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        size = stream.codec_context.frame_size
        shape = av.AudioResampler(format=stream.format.name, layout="mono", frame_size=size)
        for part in [*shape.resample(frame), *shape.resample(None), None]:
            file.mux(stream.encode(part))
    return target.getvalue()


def flac_bomb(hours: int) -> bytes:
    """Silence that takes 13 kB an hour and 115 MB once decoded: FLAC frames of one constant.

    The format is that of RFC 9639: 16 kHz, mono, 16 bit, 65,535 samples a frame.
    """
    block, rate = 65_535, 16_000
    frames = hours * 3600 * rate // block
    info = struct.pack(">HH", block, block) + bytes(6)  # frame sizes: not known
    info += (rate << 44 | 15 << 36 | frames * block).to_bytes(8, "big") + bytes(16)  # no MD5
    parts = [b"fLaC", b"\x80\0\0\x22", info]
    for number in range(frames):
        # Fixed blocks; a 16-bit size follows, the rate is STREAMINFO's; mono, 16 bit.
        head = b"\xff\xf8\x70\x08" + _utf8(number) + struct.pack(">H", block - 1)
        frame = head + bytes([_crc8(head)]) + b"\0\0\0"  # a constant subframe: 0
        parts += [frame, struct.pack(">H", _crc16(frame))]
    return b"".join(parts)


def _utf8(number: int) -> bytes:
    return chr(number).encode("utf-8", "surrogatepass")


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    rest = 0
    for byte in data:
        rest ^= byte << (bits - 8)
        for _ in range(8):
            rest <<= 1
            if rest >> bits:
                rest ^= polynomial | 1 << bits
    return rest


def _crc8(data: bytes) -> int:
    return _crc(data, 8, 0x07)


def _crc16(data: bytes) -> int:
    return _crc(data, 16, 0x8005)


def odd(rate: int, channels: int) -> bytes:
    """A tenth of a second of nothing, in a shape nobody records in."""
    return wav(np.zeros((rate // 10, channels), dtype=np.float32), rate)


def half(data: bytes) -> bytes:
    """A file whose sending broke off."""
    return data[: len(data) // 2]


def flipped() -> bytes:
    """The prompt as FLAC with one byte changed."""
    flac = bytearray(encoded(*samples(), "FLAC"))
    flac[len(flac) // 2] ^= 0xFF
    return bytes(flac)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "cut MP3": (lambda: half(encoded(*samples(), "MP3")), "prompt_truncated"),
    "cut Ogg": (lambda: half(encoded(*samples(), "OGG")), "prompt_truncated"),
    "cut FLAC": (lambda: half(encoded(*samples(), "FLAC")), "prompt_truncated"),
    "WebM of an unknown codec": (
        lambda: filmed("webm", "libopus").replace(b"A_OPUS", b"A_0PUS"),
        "prompt_not_audio",
    ),
    "cut WebM": (lambda: half(filmed("webm", "libopus")), "prompt_truncated"),
    "cut M4A": (lambda: half(filmed("ipod", "aac")), "prompt_truncated"),
    "a flipped byte in FLAC": (flipped, "prompt_truncated"),
    "57 hours in a megabyte": (lambda: flac_bomb(57), "prompt_too_long"),
    "a playlist": (lambda: b"#EXTM3U\nhttp://192.0.2.1/a.mp3\n", "prompt_not_audio"),
    "32 channels": (lambda: odd(48_000, 32), "prompt_unusual"),
    "1 kHz": (lambda: odd(1_000, 1), "prompt_low_rate"),
    "768 kHz": (lambda: odd(768_000, 1), "prompt_unusual"),
}
"""Files that are cut, changed or made to harm, and the code of the problem each must meet."""
