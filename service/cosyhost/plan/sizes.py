"""Bytes and lines: how large things are, and how long they take.

Sizes are decimal (1 kB = 1000 bytes) and lines in megabits per second, as providers sell them; a
megabit per second is 125 000 bytes per second. Times are those of an empty line without latency or
loss: over TCP on a poor line expect 1.05 to 1.7 times as much.
"""

from __future__ import annotations

# Prompt audio as it leaves the browser, bytes per second of sound. The first two are plain PCM of
# 16 bits; the others were measured on 15 s of speech, mixed down to 24 kHz mono as the studio does.
PROMPT_BYTES_PER_S = {
    "wav16": 16_000 * 2,  # 16 kHz mono
    "wav48": 48_000 * 2 * 2,  # 48 kHz stereo, what many recorders give
    "flac": 414_792 / 15,  # the studio's lossless format
    "opus": 122_325 / 15,  # the studio's format for slow lines, 64 kbit/s
}
# Speech as the engines make it: 24 kHz mono. FLAC as above, on the safe side; Opus as our encoder
# writes speech (4300 and 4430 bytes per second on two speakers).
OUTPUT_BYTES_PER_S = {"wav": 24_000 * 2, "flac": 414_792 / 15, "opus": 4_500}

# First load of the studio through nginx, as `make bench BENCH=page` counts it.
PAGE_BYTES = 252_000
# What a Gradio page nobody optimised weighs, lowest and highest.
PAGE_UNOPTIMISED_BYTES = (5_000_000, 10_000_000)

BYTES_PER_MBIT = 125_000


def bytes_per_s(mbit: float) -> float:
    """A line of `mbit` Mbit/s in bytes per second."""
    return mbit * BYTES_PER_MBIT


def mbit_per_s(rate_bytes: float) -> float:
    """Bytes per second as Mbit/s. Divided by a million they are MB/s, an eighth of it."""
    return rate_bytes / BYTES_PER_MBIT


def transfer_s(size_bytes: float, mbit: float) -> float:
    """Seconds that `size_bytes` take over an empty line of `mbit` Mbit/s."""
    return size_bytes / bytes_per_s(mbit)


def together_s(size_bytes: float, users: int, mbit: float, link_mbit: float) -> float:
    """Seconds until `users` who begin together have each moved `size_bytes`.

    Each has a line of `mbit` of their own, all share one of `link_mbit`: the tighter one decides.
    """
    return max(transfer_s(size_bytes, mbit), transfer_s(users * size_bytes, link_mbit))
