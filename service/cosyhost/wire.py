"""What audio weighs on the wire, and how long a line takes for it.

Rates are in Mbit/s, SI: a million bits a second. Bytes a second divided by a million would be MB/s.
"""

from __future__ import annotations

from dataclasses import dataclass


def mbit_s(data_bytes: int, seconds: float) -> float:
    """The rate of a transfer in Mbit/s.

    Raises:
        ValueError: a transfer that took no time has no rate.
    """
    if seconds <= 0:
        raise ValueError("a transfer takes time")
    return data_bytes * 8 / 1e6 / seconds


def transfer_s(data_bytes: float, rate_mbit_s: float) -> float:
    """Seconds that a line of that rate takes for so many bytes.

    Raises:
        ValueError: a line without a rate never ends.
    """
    if rate_mbit_s <= 0:
        raise ValueError("a line has a rate above 0")
    return data_bytes * 8 / 1e6 / rate_mbit_s


@dataclass(frozen=True)
class Codec:
    """One way to send sound: bytes for each second, and bytes of its head."""

    bytes_per_s: float
    head_bytes: int = 0

    def weighs(self, seconds: float) -> int:
        """Bytes of a sound of that length."""
        return self.head_bytes + round(self.bytes_per_s * seconds)


_WAV_HEAD = 44
# The two compact ones as this project's browser code makes them of 15 s of speech (Chromium's
# WebCodecs, libFLAC): 414,792 and 122,325 bytes.
CODECS: dict[str, Codec] = {
    "wav16": Codec(16_000 * 2, _WAV_HEAD),  # 16 kHz, mono, 16 bit
    "wav48": Codec(48_000 * 2 * 2, _WAV_HEAD),  # 48 kHz, stereo, 16 bit: as recorders write it
    "flac": Codec(414_792 / 15),  # 24 kHz, mono, lossless: what the studio sends
    "opus": Codec(122_325 / 15),  # 64 kbit/s: the studio's mode for slow lines
}
# The service's own sound: 24 kHz, mono, 16 bit.
OUTPUT = Codec(24_000 * 2, _WAV_HEAD)
# The prompt that sentences speak of.
PROMPT_S = 15
PROMPT_WAYS = ("wav48", "flac", "opus")
