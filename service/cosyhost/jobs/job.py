"""A job as it is asked for, and what is known of it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Literal, get_args

import msgspec

from cosyhost.errors import Problem

Mode = Literal["zero_shot", "cross_lingual", "instruct"]
MODES: tuple[Mode, ...] = get_args(Mode)
Mark = Literal["none", "start", "end"]
"""Where a job's output has the sign that can be heard (`audio.sign`)."""
State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: frozenset[str] = frozenset({"done", "failed", "cancelled"})

TITLE_CHARS = 40


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be spoken. `prompt` is the SHA-256 of a stored prompt audio."""

    id: str
    mode: Mode
    text: str
    prompt: str
    prompt_text: str = ""
    instruction: str = ""
    speed: float = 1.0
    seed: int = 0
    user: str = ""
    upload_s: float = 0.0
    upload_bytes: int = 0
    mark: Mark = "none"

    @property
    def title(self) -> str:
        """How a list of jobs calls it."""
        return self.text[:TITLE_CHARS]


@dataclass(frozen=True)
class Status:
    """What the ledger knows of a job; times are Unix seconds by the clock of Redis."""

    id: str
    state: State
    mode: str
    engine: str
    preview: bool
    attempts: int
    created: float
    started: float | None
    finished: float | None
    first_audio: float | None
    spoken_s: float | None
    audio_s: float | None
    encode_s: float | None
    upload_s: float
    upload_bytes: int
    title: str
    user: str
    position: int | None
    problem: Problem | None


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted of a job that ended (`scripts.NOTE`): times as in `Status`, nobody's data.

    `mark_s` of `audio_s` are its audible sign.
    """

    state: State
    mode: str
    created: float
    finished: float
    engine: str = ""
    preview: bool = False
    started: float | None = None
    first_audio: float | None = None
    audio_s: float | None = None
    mark_s: float = 0.0
    encode_s: float | None = None
    upload_s: float = 0.0
    upload_bytes: int = 0


class JobEnd(Ended, frozen=True, kw_only=True):
    """The same with whose job it was, and what it failed of: for the trail."""

    id: str
    user: str = ""
    code: str = ""


def new_job_id() -> str:
    """An id nobody can guess (122 random bits)."""
    return uuid.uuid4().hex


def output_key(job_id: str) -> str:
    """Where the store keeps what a job said."""
    return f"outputs/{job_id}.wav"
