"""Prompt audio: a stranger's bytes in, a checked mono WAV out.

Decoding happens in a process of its own (`cosyhost.audio.decode`) with limits on memory, CPU time
and open files, so that a hostile file costs that process only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from cosyhost.errors import (
    KINDS,
    PROMPT_EMPTY,
    PROMPT_NOT_AUDIO,
    PROMPT_TOO_LARGE,
    SERVICE_BUSY,
    Problem,
)

# Decoders at work at once, whatever number of users: more would only be slower. Each may take 10 s
# of CPU time (`decode.limit_process`); who waits longer than this in all waits for a busy machine.
_turns = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))
_PATIENCE_S = 20
_RETRY_AFTER_S = 5


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
    if not _turns.acquire(timeout=_PATIENCE_S):
        raise Problem(SERVICE_BUSY, retry_after_s=_RETRY_AFTER_S)
    try:
        with _started_decoder() as child:
            yield child
    finally:
        _turns.release()


@contextlib.contextmanager
def _started_decoder() -> Iterator[subprocess.Popen[bytes]]:
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
        Problem: any of the PROMPT_* kinds, or SERVICE_BUSY.
    """
    if not data:
        raise Problem(PROMPT_EMPTY)
    if len(data) > limit_bytes:
        raise Problem(PROMPT_TOO_LARGE, size_mb=len(data) / 1e6, limit_mb=limit_bytes / 1e6)
    with _decoder() as child:
        try:
            wav, said = child.communicate(data, timeout=_PATIENCE_S)
            report = json.loads(said.splitlines()[-1])
        except subprocess.TimeoutExpired:
            raise Problem(SERVICE_BUSY, retry_after_s=_RETRY_AFTER_S) from None
        except (IndexError, ValueError):  # killed by a limit, or crashed inside a decoder
            raise Problem(PROMPT_NOT_AUDIO) from None
    if "code" in report:
        raise Problem(KINDS[report.pop("code")], **report)
    return Prompt(
        wav=wav,
        sha256=hashlib.sha256(wav).hexdigest(),
        seconds=report["seconds"],
        sample_rate=report["sample_rate"],
    )
