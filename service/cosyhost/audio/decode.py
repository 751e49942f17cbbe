"""The limited process that decodes one prompt audio: file on stdin, WAV on stdout.

The last line of stderr is one JSON object: `seconds` and `sample_rate`, or the `code` of a problem
with its figures.
"""

from __future__ import annotations

import io
import json
import resource
import struct
import sys
from dataclasses import dataclass

from cosyhost.errors import (
    PROMPT_CLIPPED,
    PROMPT_LOW_RATE,
    PROMPT_NOT_AUDIO,
    PROMPT_SILENT,
    PROMPT_TOO_LONG,
    PROMPT_TOO_SHORT,
    PROMPT_TRUNCATED,
    PROMPT_UNUSUAL,
    Problem,
)

MIN_S, MAX_S = 3.0, 30.0
MIN_RATE_HZ, MAX_RATE_HZ = 16_000, 192_000
MAX_CHANNELS = 8
# Speech at a sane gain lies above -40 dBFS; a muted microphone's noise lies below -60.
SILENT_RMS_DBFS = -60.0
# A shout grazes full scale in well under 1 % of its samples.
FULL_SCALE = 0.999
CLIPPED_SHARE = 0.05
_BLOCK_S = 1
_UNKNOWN_LENGTHS = (0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF)


@dataclass(frozen=True)
class Decoded:
    """A mono 16-bit WAV and its figures."""

    wav: bytes
    seconds: float
    sample_rate: int


def limit_process() -> None:
    """Bound this process; numpy with its libraries takes about 300 MB of address space."""
    gib = 1 << 30
    resource.setrlimit(resource.RLIMIT_AS, (2 * gib, 2 * gib))
    resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def is_whole(data: bytes) -> bool:
    """Whether all that the container declares is there.

    No decoder notices the cut: libsndfile reads a cut WAV without a word. Formats that declare
    nothing up front (MP3) count as whole; FLAC is checked after decoding.
    """
    if data[:4] == b"OggS":
        # The last page carries the end-of-stream flag (RFC 3533, 6).
        last = data.rfind(b"OggS")
        return last + 6 <= len(data) and bool(data[last + 5] & 0x04)
    if data[:4] != b"RIFF":
        return True
    at = 12
    while at + 8 <= len(data):
        size = struct.unpack_from("<I", data, at + 4)[0]
        if data[at : at + 4] == b"data":
            return size in _UNKNOWN_LENGTHS or len(data) - at - 8 >= size
        at += 8 + size + size % 2
    return False


def is_known(data: bytes) -> bool:
    """Whether the first bytes are those of a format we read; the name of a file proves nothing."""
    return (
        (data[:4] == b"RIFF" and data[8:12] == b"WAVE")
        or data[:4] in (b"fLaC", b"OggS")
        or data[:3] == b"ID3"
        or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE6 in (0xE2, 0xE4, 0xE6))
    )


def decode(data: bytes) -> Decoded:
    """Decode at most 30 s, block by block.

    Raises:
        Problem: PROMPT_NOT_AUDIO, _TRUNCATED, _LOW_RATE, _UNUSUAL, _TOO_SHORT, _TOO_LONG, _SILENT
            or _CLIPPED.
    """
    import numpy as np
    import soundfile

    if not is_known(data):
        raise Problem(PROMPT_NOT_AUDIO)
    if not is_whole(data):
        raise Problem(PROMPT_TRUNCATED)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate, channels, declared = file.samplerate, file.channels, file.frames
            if rate < MIN_RATE_HZ:
                raise Problem(PROMPT_LOW_RATE, rate=rate, low=MIN_RATE_HZ)
            if rate > MAX_RATE_HZ or channels > MAX_CHANNELS:
                raise Problem(PROMPT_UNUSUAL, rate=rate, channels=channels)
            blocks, frames = [], 0
            for block in file.blocks(rate * _BLOCK_S, dtype="float32", always_2d=True):
                frames += len(block)
                if frames > MAX_S * rate:
                    raise Problem(PROMPT_TOO_LONG, high=MAX_S)
                blocks.append(block)
            is_flac = file.format == "FLAC"
    except soundfile.LibsndfileError:
        raise Problem(PROMPT_NOT_AUDIO) from None
    if is_flac and frames < declared:
        raise Problem(PROMPT_TRUNCATED)
    seconds = frames / rate
    if seconds < MIN_S:
        raise Problem(PROMPT_TOO_SHORT, seconds=seconds, low=MIN_S)
    samples = np.concatenate(blocks)
    clipped = float((np.abs(samples) >= FULL_SCALE).mean())
    if clipped > CLIPPED_SHARE:
        raise Problem(PROMPT_CLIPPED, share=clipped)
    mono = samples.mean(axis=1)
    level_db = 20 * float(np.log10(np.sqrt((mono.astype("float64") ** 2).mean()) + 1e-10))
    if level_db < SILENT_RMS_DBFS:
        raise Problem(PROMPT_SILENT, level_db=level_db)
    target = io.BytesIO()
    soundfile.write(target, mono, rate, format="WAV", subtype="PCM_16")
    return Decoded(wav=target.getvalue(), seconds=seconds, sample_rate=rate)


def main() -> int:
    """Decode stdin; exit status 0, or 1 after a problem."""
    # The libraries are loaded before the limits fall, since loading them opens files.
    import numpy
    import soundfile

    del numpy, soundfile
    limit_process()
    try:
        result = decode(sys.stdin.buffer.read())
    except Problem as problem:
        print(json.dumps({"code": problem.kind.code, **problem.figures}), file=sys.stderr)
        return 1
    sys.stdout.buffer.write(result.wav)
    print(
        json.dumps({"seconds": result.seconds, "sample_rate": result.sample_rate}),
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
