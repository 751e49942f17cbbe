"""Prompt audio: a stranger's bytes in, a checked mono WAV out.

Decoding happens in a process of its own (`cosyhost.audio.decode`) with limits on memory, CPU time
and open files, so that a hostile file costs that process only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import queue
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from cosyhost.errors import (
    KINDS,
    PROMPT_EMPTY,
    PROMPT_NOT_AUDIO,
    PROMPT_TOO_LARGE,
    Problem,
)

_DECODE_TIMEOUT_S = 20


@dataclass(frozen=True)
class Prompt:
    """A valid prompt audio: `wav` is mono 16-bit WAV at `sample_rate` Hz, named by its SHA-256."""

    wav: bytes
    sha256: str
    seconds: float
    sample_rate: int


# Starting a decoder takes longer than its work: one may wait for the next audio. It ends by itself
# when this process does, since its stdin closes.
_waiting: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "cosyhost.audio.decode"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def keep_decoder_waiting() -> None:
    """Have a decoder at hand from now on, for a process that reads many prompts."""
    _waiting.put(_start())


@contextlib.contextmanager
def _decoder() -> Iterator[subprocess.Popen[bytes]]:
    """A decoder for one audio; where one waited, the next is started afterwards."""
    try:
        child, waited = _waiting.get_nowait(), True
    except queue.Empty:
        child, waited = _start(), False
    if waited and child.poll() is not None:  # it was killed meanwhile
        child.communicate()
        child = _start()
    try:
        with child:
            try:
                yield child
            finally:
                child.kill()
    finally:
        if waited:
            keep_decoder_waiting()


def read_prompt(data: bytes, limit_bytes: int) -> Prompt:
    """Check and normalise an uploaded file; takes about 0.2 s, so call it off the event loop.

    Raises:
        Problem: any of the PROMPT_* kinds.
    """
    if not data:
        raise Problem(PROMPT_EMPTY)
    if len(data) > limit_bytes:
        raise Problem(PROMPT_TOO_LARGE, size_mb=len(data) / 1e6, limit_mb=limit_bytes / 1e6)
    with _decoder() as child:
        try:
            wav, said = child.communicate(data, timeout=_DECODE_TIMEOUT_S)
            report = json.loads(said.splitlines()[-1])
        # Too slow; or killed by a limit, or crashed inside a decoder.
        except (subprocess.TimeoutExpired, IndexError, ValueError):
            raise Problem(PROMPT_NOT_AUDIO) from None
    if "code" in report:
        raise Problem(KINDS[report.pop("code")], **report)
    return Prompt(
        wav=wav,
        sha256=hashlib.sha256(wav).hexdigest(),
        seconds=report["seconds"],
        sample_rate=report["sample_rate"],
    )
