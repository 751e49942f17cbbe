"""The limited process that decodes one prompt audio: file on stdin, WAV on stdout.

The last line of stderr is one JSON object: `seconds` and `sample_rate`, or the `code` of a problem
with its figures.
"""

from __future__ import annotations

import io
import json
import os
import resource
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soundfile

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
# Encoders pad and trim a frame or two; a cut file lacks more.
_MISSING_S = 0.2
# An ID3 tag with a picture may stand before the first MP3 frame.
_TAG_WITHIN = 1 << 20
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

    No decoder notices the cut: libsndfile reads a cut WAV without a word. FLAC, WebM and MP4 are
    checked after decoding.
    """
    if data[:4] == b"OggS":
        return _ogg_is_whole(data)
    if data[:4] != b"RIFF":
        return _mp3_is_whole(data)
    at = 12
    while at + 8 <= len(data):
        size = struct.unpack_from("<I", data, at + 4)[0]
        if data[at : at + 4] == b"data":
            return size in _UNKNOWN_LENGTHS or len(data) - at - 8 >= int(size)
        at += 8 + size + size % 2
    return False


def _ogg_is_whole(data: bytes) -> bool:
    """Whether the last page is all there and carries the end-of-stream flag (RFC 3533, 6)."""
    at = data.rfind(b"OggS")
    if len(data) < at + 27 or not data[at + 5] & 0x04:
        return False
    table = data[at + 27 : at + 27 + data[at + 26]]
    return len(data) >= at + 27 + data[at + 26] + sum(table)


def _mp3_is_whole(data: bytes) -> bool:
    """By the Xing or Info tag that encoders leave in the first frame; without one nobody knows.

    libmpg123 fills what is missing with silence, so decoding does not tell.
    """
    at = max(data.find(b"Xing", 0, _TAG_WITHIN), data.find(b"Info", 0, _TAG_WITHIN))
    if is_flac_or_film(data) or at < 0 or len(data) < at + 16:
        return True
    flags = struct.unpack_from(">I", data, at + 4)[0]
    if not flags & 2:
        return True
    promised = struct.unpack_from(">I", data, at + 8 + 4 * (flags & 1))[0]
    return len(data) >= int(promised)


def is_flac_or_film(data: bytes) -> bool:
    """Whether the container is one that is checked after decoding."""
    return data[:4] == b"fLaC" or in_film_container(data)


def is_known(data: bytes) -> bool:
    """Whether the first bytes are those of a format we read; the name of a file proves nothing."""
    return (
        in_film_container(data)
        or (data[:4] == b"RIFF" and data[8:12] == b"WAVE")
        or data[:4] in (b"fLaC", b"OggS")
        or data[:3] == b"ID3"
        or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE6 in (0xE2, 0xE4, 0xE6))
    )


def in_film_container(data: bytes) -> bool:
    """Whether it is WebM or MP4, which phones and browsers record into."""
    return data[:4] == b"\x1a\x45\xdf\xa3" or data[4:8] == b"ftyp"


@dataclass(frozen=True)
class _Sound:
    """Decoded samples, shape [frames, channels], and what the container promised in frames."""

    samples: npt.NDArray[np.float32]
    rate: int
    declared: int | None


def _check_shape(rate: int, channels: int) -> None:
    if rate < MIN_RATE_HZ:
        raise Problem(PROMPT_LOW_RATE, rate=rate, low=MIN_RATE_HZ)
    if rate > MAX_RATE_HZ or channels > MAX_CHANNELS:
        raise Problem(PROMPT_UNUSUAL, rate=rate, channels=channels)


def _bounded(blocks: Iterable[npt.NDArray[np.float32]], rate: int) -> npt.NDArray[np.float32]:
    """All blocks as one array; raises PROMPT_TOO_LONG at the first one beyond the limit."""
    kept, frames = [], 0
    for block in blocks:
        frames += len(block)
        if frames > MAX_S * rate:
            raise Problem(PROMPT_TOO_LONG, high=MAX_S)
        kept.append(block)
    return np.concatenate(kept) if kept else np.zeros((0, 1), dtype=np.float32)


def _with_libsndfile(data: bytes) -> _Sound:
    try:
        file = soundfile.SoundFile(io.BytesIO(data))
    except soundfile.LibsndfileError:
        raise Problem(PROMPT_NOT_AUDIO) from None
    try:
        with file:
            rate = file.samplerate
            _check_shape(rate, file.channels)
            # In one go: soundfile seeks after each block, and in Ogg each seek decodes anew.
            samples = file.read(int(MAX_S * rate) + 1, dtype="float32", always_2d=True)
            samples = _bounded([samples], rate)
            # An Ogg page says where it ends, not how much there is; its end mark was checked.
            declared = file.frames if file.format == "FLAC" else None
    except soundfile.LibsndfileError:  # it began well
        raise Problem(PROMPT_TRUNCATED) from None
    return _Sound(samples, rate, declared)


def _with_ffmpeg(data: bytes) -> _Sound:
    import av  # takes 0.3 s to load, and few files need it

    # The demuxer is named, or FFmpeg would try them all, playlists that fetch addresses included.
    demuxer = "matroska" if data[:4] == b"\x1a\x45\xdf\xa3" else "mov"
    try:
        with av.open(io.BytesIO(data), mode="r", format=demuxer) as container:
            if not container.streams.audio:
                raise Problem(PROMPT_NOT_AUDIO)
            stream = container.streams.audio[0]
            # PyAV's types do not say so: a codec that nobody knows has no context.
            if stream.codec_context is None:
                raise Problem(PROMPT_NOT_AUDIO)
            rate = stream.codec_context.sample_rate
            _check_shape(rate, stream.codec_context.channels)
            resampler = av.AudioResampler(format="fltp", rate=rate)
            blocks = (
                part.to_ndarray().T.astype(np.float32)
                for frame in container.decode(stream)
                for part in resampler.resample(frame)
            )
            samples = _bounded(blocks, rate)
            declared = None
            if stream.duration and stream.time_base:
                declared = int(stream.duration * stream.time_base * rate)
            elif container.duration:
                declared = int(container.duration / av.time_base * rate)
    except (av.FFmpegError, ValueError):
        # Phones write the index of an MP4 last: without it, the end is what is missing.
        cut = demuxer == "mov" and b"moov" not in data
        raise Problem(PROMPT_TRUNCATED if cut else PROMPT_NOT_AUDIO) from None
    return _Sound(samples, rate, declared)


def decode(data: bytes) -> Decoded:
    """Decode at most 30 s, block by block.

    Raises:
        Problem: PROMPT_NOT_AUDIO, _TRUNCATED, _LOW_RATE, _UNUSUAL, _TOO_SHORT, _TOO_LONG, _SILENT
            or _CLIPPED.
    """
    if not is_known(data):
        raise Problem(PROMPT_NOT_AUDIO)
    if not is_whole(data):
        raise Problem(PROMPT_TRUNCATED)
    sound = _with_ffmpeg(data) if in_film_container(data) else _with_libsndfile(data)
    samples, rate = sound.samples, sound.rate
    seconds = len(samples) / rate
    if sound.declared is not None and sound.declared / rate - seconds > _MISSING_S:
        raise Problem(PROMPT_TRUNCATED)
    if seconds < MIN_S:
        raise Problem(PROMPT_TOO_SHORT, seconds=seconds, low=MIN_S)
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
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # nothing is left to tidy up, and somebody waits
