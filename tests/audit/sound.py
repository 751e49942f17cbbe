"""What is heard in a WAV, with nothing but Python itself."""

from __future__ import annotations

# "A I" in Morse, by its units of sound and silence, and the pause between it and the speech.
RHYTHM, UNIT_S, PAUSE_UNITS = "10111000101", 0.08, 4


def wav_seconds(data: bytes) -> float:
    """Length by size: a stream's header can't know it."""
    rate = int.from_bytes(data[24:28], "little")
    return len(samples(data)) / rate if rate else 0.0


def samples(data: bytes) -> memoryview:
    """The 16-bit samples behind the header."""
    at = 12
    while data[at : at + 4] not in (b"data", b""):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return memoryview(data[at + 8 : at + 8 + (len(data) - at - 8) // 2 * 2]).cast("h")


def sign_samples(data: bytes) -> int:
    """How many samples the audible sign takes, its pause with it."""
    rate = int.from_bytes(data[24:28], "little")
    return (len(RHYTHM) + PAUSE_UNITS) * round(UNIT_S * rate)


def sign_place(data: bytes) -> str:
    """Where the rhythm is heard: start, end or none; by how loud the middle of each unit is."""
    heard, unit = samples(data), round(UNIT_S * int.from_bytes(data[24:28], "little"))
    for place, first in (("start", 0), ("end", len(heard) - len(RHYTHM) * unit)):
        middles = [
            heard[first + number * unit + unit // 4 : first + (number + 1) * unit - unit // 4]
            for number in range(len(RHYTHM))
        ]
        levels = [max(map(abs, middle), default=0) for middle in middles]
        loud = max(levels)
        if loud and "".join("01"[level > loud / 4] for level in levels) == RHYTHM:
            return place
    return "none"
