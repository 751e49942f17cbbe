"""What somebody answers for until a day: `waivers.yml` beside an inventory's hosts."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from tests.audit.report.model import Row

FILE = "waivers.yml"
NEEDED, OPTIONAL = ("id", "reason", "until", "by"), ("host",)


class WaiverError(Exception):
    """The file cannot be taken as it is."""


@dataclass(frozen=True)
class Waiver:
    """One entry."""

    id: str
    reason: str
    until: datetime.date
    by: str
    host: str = "*"

    def covers(self, id: str, host: str) -> bool:
        """Whether it is about this row, on this host."""
        return self.id == id and fnmatchcase(host, self.host)

    def expired(self, today: datetime.date) -> bool:
        """Its last day counts."""
        return today > self.until

    @property
    def words(self) -> dict[str, str]:
        """As the report has it."""
        return {
            "id": self.id, "host": self.host, "reason": self.reason,
            "until": self.until.isoformat(), "by": self.by,
        }  # fmt: skip


@dataclass(frozen=True)
class Waivers:
    """All entries of the inventories in question, judged on one day."""

    entries: tuple[Waiver, ...]
    today: datetime.date

    def judge(self, row: Row) -> None:
        """Waive a row that has failed; one whose waiver has ended fails and says so."""
        about = [one for one in self.entries if one.covers(row.id, row.host)]
        valid = [one for one in about if not one.expired(self.today)]
        if not row.bad or not about:
            return
        if valid:
            row.result, row.waiver = "waived", valid[0].words
        else:
            last = max(about, key=lambda one: one.until)
            row.waiver = last.words
            row.found += (
                f"\nits waiver ended on {last.until} ({last.by}: {last.reason})"
                f"；豁免已于 {last.until} 到期"
            )

    def states(self, rows: Sequence[Row]) -> list[dict[str, str]]:
        """Each entry and what became of it: applied, expired, unneeded, or not asked for."""
        found = []
        for one in self.entries:
            about = [row for row in rows if one.covers(row.id, row.host) and row.result != "skip"]
            if not about:
                state = "unused"
            elif all(row.result == "pass" for row in about):
                state = "unneeded"
            else:
                state = "expired" if one.expired(self.today) else "applied"
            found.append(one.words | {"state": state})
        return found


def beside(inventories: Iterable[Path]) -> list[Path]:
    """The waiver files of these inventories: in a folder, or beside a file."""
    folders = [path if path.is_dir() else path.parent for path in inventories]
    paths = [folder.resolve() / FILE for folder in folders]
    return [path for path in dict.fromkeys(paths) if path.is_file()]


def read(paths: Iterable[Path], ids: Collection[str], today: datetime.date) -> Waivers:
    """All entries, each checked: its words, its day, and that there is such a row."""
    found: list[Waiver] = []
    for path in paths:
        try:
            listed = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise WaiverError(f"{path} is no YAML: {error}") from error
        if not isinstance(listed, list | None):
            raise WaiverError(f"{path} must be a list of entries with {', '.join(NEEDED)}")
        for number, entry in enumerate(listed or [], 1):
            one = _entry(entry, f"{path}, entry {number}", ids)
            if any((one.id, one.host) == (other.id, other.host) for other in found):
                raise WaiverError(f"{path}, entry {number}: {one.id} is waived twice")
            found.append(one)
    return Waivers(tuple(found), today)


def _entry(entry: Any, where: str, ids: Collection[str]) -> Waiver:
    if not isinstance(entry, dict):
        raise WaiverError(f"{where}: must have {', '.join(NEEDED)}")
    where += f" ({entry.get('id', 'no id')})"
    if unknown := sorted(set(map(str, entry)) - {*NEEDED, *OPTIONAL}):
        raise WaiverError(f"{where}: unknown {', '.join(unknown)}")
    if lacking := [name for name in NEEDED if not str(entry.get(name) or "").strip()]:
        raise WaiverError(f"{where}: lacks {', '.join(lacking)}")
    until = entry["until"]
    # A time of day would be a datetime, which is a date to isinstance.
    if type(until) is not datetime.date:
        raise WaiverError(f"{where}: until must be a day such as 2030-12-31, not {until!r}")
    if entry["id"] not in ids:
        raise WaiverError(f"{where}: the audit has no row of this id; see docs/audit.md")
    words = {name: str(entry[name]).strip() for name in ("id", "reason", "by")}
    return Waiver(**words, until=until, host=str(entry.get("host") or "*"))
