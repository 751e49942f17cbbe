"""One line of the trail, the name of its file, and how its text is made unreadable."""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import msgspec

FOLDER = Path("/var/log/cosyhost-trail")
KEY = ".key"
FILES = "trail-????-??-??.jsonl"

Event = Literal["speech", "voice_added", "voice_renamed", "voice_deleted"]
Outcome = Literal["accepted", "done", "failed", "cancelled", "refused"]


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of an event when its line is written; what is not, is left out.

    `time` is UTC with milliseconds. `user` names a browser and opens nothing (`web.user`). `voice`
    is the SHA-256 of the prompt audio as the store keeps it, `text` a keyed hash (`digest`).
    `consent` are the words that were given, empty where there were none.
    """

    time: str
    # Not their literals: a release that was rolled back must read what a newer one wrote.
    event: str
    outcome: str
    code: str = ""
    job: str = ""
    user: str = ""
    address: str = ""
    mode: str = ""
    voice: str = ""
    name: str = ""
    new_name: str = ""
    text: str = ""
    consent: str | None = None
    engine: str = ""
    preview: bool | None = None
    audio_s: float | None = None
    took_s: float | None = None


def moment(unix_s: float) -> str:
    """A time as records have it; such times sort as text."""
    told = datetime.fromtimestamp(unix_s, timezone.utc).isoformat(timespec="milliseconds")
    return told.replace("+00:00", "Z")


def file_of(time: str) -> str:
    """The file that holds the records of that time."""
    return f"trail-{time[:10]}.jsonl"


def digest(key: bytes, text: str) -> str:
    """HMAC-SHA-256 of the text as it is spoken (NFC, trimmed).

    A plain hash of a short sentence is found by guessing; without the host's key this is not.
    """
    spoken = unicodedata.normalize("NFC", text).strip()
    return hmac.new(key, spoken.encode(), hashlib.sha256).hexdigest()
