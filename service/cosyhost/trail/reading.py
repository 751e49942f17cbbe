"""Reading the trail: line by line, whatever its size, and what is damaged named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from cosyhost.errors import TRAIL_UNREADABLE, Problem
from cosyhost.trail.record import FILES, Record, file_of

# Ten times the longest record there is.
_MOST_BYTES = 64 * 1024


@dataclass(frozen=True)
class Line:
    """A line as it stands in its file. `record` is None where it is damaged; `open_end`: it is its
    file's last and has no end yet.
    """

    file: str
    number: int
    raw: bytes
    record: Record | None
    open_end: bool


def lines(folder: Path, since: str = "", until: str = "~") -> Iterator[Line]:
    """Damaged lines and records from `since` on and before `until`, in the order of writing.

    Raises:
        Problem: TRAIL_UNREADABLE.
    """
    try:
        if not folder.is_dir():
            raise NotADirectoryError(20, "no such folder")
        for path in sorted(folder.glob(FILES)):
            if file_of(since or "0") <= path.name <= file_of(until):
                try:
                    file = path.open("rb")
                except FileNotFoundError:  # its time was up
                    continue
                with file:
                    yield from _of(file, path.name, since, until)
    except OSError as error:
        raise Problem(TRAIL_UNREADABLE, path=folder, reason=error.strerror) from error


def _of(file: BinaryIO, name: str, since: str, until: str) -> Iterator[Line]:
    number = 0
    while raw := file.readline(_MOST_BYTES):
        number += 1
        ended = raw.endswith(b"\n")
        whole = ended or len(raw) < _MOST_BYTES
        while not ended and (rest := file.readline(_MOST_BYTES)):
            ended = rest.endswith(b"\n")
        if not raw.strip():
            continue
        record = _decoded(raw) if whole else None
        if record is None or since <= record.time < until:
            yield Line(name, number, raw.strip(), record, open_end=not ended)


def _decoded(raw: bytes) -> Record | None:
    try:
        return msgspec.json.decode(raw, type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
