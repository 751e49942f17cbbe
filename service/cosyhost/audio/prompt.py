"""Prompt audio: a stranger's bytes in, a checked mono WAV out.

Decoding happens in a process of its own (`cosyhost.audio.decode`) with limits on memory, CPU time
and open files, so that a hostile file costs that process only.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
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


def read_prompt(data: bytes, limit_bytes: int) -> Prompt:
    """Check and normalise an uploaded file; takes about 0.2 s, so call it off the event loop.

    Raises:
        Problem: any of the PROMPT_* kinds.
    """
    if not data:
        raise Problem(PROMPT_EMPTY)
    if len(data) > limit_bytes:
        raise Problem(PROMPT_TOO_LARGE, size_mb=len(data) / 1e6, limit_mb=limit_bytes / 1e6)
    try:
        child = subprocess.run(
            [sys.executable, "-m", "cosyhost.audio.decode"],
            input=data,
            capture_output=True,
            timeout=_DECODE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Problem(PROMPT_NOT_AUDIO) from None
    try:
        report = json.loads(child.stderr.splitlines()[-1])
    except (IndexError, ValueError):  # killed by a limit, or crashed inside a decoder
        raise Problem(PROMPT_NOT_AUDIO) from None
    if "code" in report:
        raise Problem(KINDS[report.pop("code")], **report)
    return Prompt(
        wav=child.stdout,
        sha256=hashlib.sha256(child.stdout).hexdigest(),
        seconds=report["seconds"],
        sample_rate=report["sample_rate"],
    )
