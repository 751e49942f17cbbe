"""Findings that somebody answers for, with a reason and until a day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import yaml

from tests.supply import SupplyError

FIELDS = ("id", "reason", "until", "by")


@dataclass(frozen=True)
class Waiver:
    """Why a vulnerability is accepted, until which day (it counts to its end), and by whom."""

    id: str
    reason: str
    until: date
    by: str


def read(path: Path) -> list[Waiver]:
    """The waivers of a file.

    Raises SupplyError at one that lacks a field, has another, or names no day.
    """
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SupplyError(f"{path} cannot be read: {error}") from error
    if not isinstance(entries, list):
        raise SupplyError(f"{path} is no list of waivers")
    waivers = []
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict) or sorted(entry) != sorted(FIELDS):
            raise SupplyError(f"{path}: waiver {number} needs {', '.join(FIELDS)}, and no more")
        texts = [entry[name] for name in ("id", "reason", "by")]
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise SupplyError(f"{path}: waiver {number} leaves id, reason or by empty")
        if type(entry["until"]) is not date:
            raise SupplyError(f"{path}: waiver {number}: until is a day, as 2026-12-31")
        waivers.append(Waiver(**entry))
    return waivers


def answering(waivers: Iterable[Waiver], ids: Iterable[str]) -> list[Waiver]:
    """The waivers for a vulnerability, whichever of its names they use."""
    known = set(ids)
    return [waiver for waiver in waivers if waiver.id in known]
