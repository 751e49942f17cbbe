"""`cosyhost trail`: records for people, as JSON lines, or as CSV."""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec

from cosyhost.errors import TRAIL_TIME_INVALID, TRAIL_UNREADABLE, Problem
from cosyhost.trail.reading import Line, lines
from cosyhost.trail.record import FOLDER, KEY, Record, digest, moment

DAMAGED = 3


def describe(verb: argparse.ArgumentParser) -> None:
    """Its arguments."""
    when = "a day, or day and time, in UTC: 2026-11-25, 2026-11-25T08:30"
    verb.add_argument("--since", metavar="TIME", help=f"from then on; {when}")
    verb.add_argument("--until", metavar="TIME", help="up to then; a day counts whole")
    verb.add_argument("--user", metavar="ID", help="of this user only")
    verb.add_argument(
        "--text", metavar="FILE", help="of speech with exactly this text only; - reads stdin"
    )
    how = verb.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="JSON lines, byte by byte as recorded")
    how.add_argument("--csv", action="store_true", help="CSV with a header, all columns")
    verb.add_argument(
        "--folder",
        type=Path,
        default=FOLDER,
        metavar="DIR",
        help="where it lies (default: %(default)s)",
    )
    verb.epilog = "Exit status 3: some lines are damaged; stderr says which."


def run(options: argparse.Namespace) -> int:
    """Print the records that are asked for.

    Raises:
        Problem: TRAIL_UNREADABLE or TRAIL_TIME_INVALID.
    """
    since = moment(_time(options.since).timestamp()) if options.since else ""
    until = moment(_time(options.until, whole_day=True).timestamp()) if options.until else "~"
    wanted = _Wanted(options.user, _digest_of(options.folder, options.text))
    show: Callable[[Line, Record], None] = _as_json if options.json else _in_brief
    if options.csv:
        show = _as_csv()
    damaged = False
    try:
        for line in lines(options.folder, since, until):
            if line.record is None:
                # The end of a file may be a record on its way.
                damaged |= not line.open_end
                _tell(line)
            elif wanted.has(line.record):
                show(line, line.record)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough; Python would complain at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DAMAGED if damaged else 0


@dataclass(frozen=True)
class _Wanted:
    user: str | None
    text: str | None

    def has(self, record: Record) -> bool:
        return self.user in (None, record.user) and self.text in (None, record.text)


def _time(given: str, *, whole_day: bool = False) -> datetime:
    try:
        # Python 3.10 knows no Z.
        found = datetime.fromisoformat(given.removesuffix("Z"))
    except ValueError:
        raise Problem(TRAIL_TIME_INVALID, given=given[:40]) from None
    if whole_day and len(given) == len("2026-11-25"):
        found += timedelta(days=1)
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _digest_of(folder: Path, file: str | None) -> str | None:
    if file is None:
        return None
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        return digest((folder / KEY).read_bytes(), text)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        path = getattr(error, "filename", None) or file
        raise Problem(TRAIL_UNREADABLE, path=path, reason=reason) from error


def _tell(line: Line) -> None:
    what = ("its end is missing", "末尾不完整") if line.open_end else ("damaged", "已损坏")
    print(
        f"cosyhost: {line.file}, line {line.number}: {what[0]}, no record. "
        f"第 {line.number} 行{what[1]}，不是完整的记录。",
        file=sys.stderr,
    )


def _as_json(line: Line, record: Record) -> None:
    sys.stdout.buffer.write(line.raw + b"\n")


def _in_brief(line: Line, record: Record) -> None:
    rest = (f"{name}={_plain(value)}" for name, value in _known(record) if name not in _HEAD)
    print(record.time, record.event, record.outcome, *rest)


_HEAD = ("time", "event", "outcome")


def _known(record: Record) -> Iterator[tuple[str, Any]]:
    for name, value in msgspec.structs.asdict(record).items():
        if value not in ("", None) or (name == "consent" and value == ""):
            yield name, value


def _plain(value: Any) -> str:
    """Without what would move the cursor of a terminal: some of it was written by strangers."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if text and text.isprintable() and " " not in text:
        return text
    return msgspec.json.encode(text).decode() if text.isprintable() else ascii(text)


def _as_csv() -> Callable[[Line, Record], None]:
    rows = csv.writer(sys.stdout)
    rows.writerow(Record.__struct_fields__)

    def show(line: Line, record: Record) -> None:
        rows.writerow(_cell(value) for value in msgspec.structs.astuple(record))

    return show


def _cell(value: Any) -> Any:
    """What strangers wrote must not become a formula where the file is opened."""
    if isinstance(value, str) and value[:1] in tuple("=+-@\t\r"):
        return "'" + value
    return value
