"""Metrics of the last backup, from the record that it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from cosyhost.exporter.exposition import Family, gauge
from cosyhost.host_config import Backup


class Record(msgspec.Struct):
    """What a run writes; it may write more than this.

    Unix times in seconds: `ended` of the last run that went well, `checked` of the last look at the
    repository itself; None before the first. The rest is of the last snapshot.
    """

    ended: float | None
    period_s: float
    run_seconds: float
    files: int
    bytes: int
    added_bytes: int
    checked: float | None


def collect(settings: Backup) -> Iterator[Family]:
    """The families of the record; none where no backup is set up.

    Raises:
        OSError, msgspec.DecodeError: there is one and it can't be read, or is no such record.
    """
    try:
        said = Path(settings.record).read_bytes()
    except FileNotFoundError:
        return
    record = msgspec.json.decode(said, type=Record)
    yield gauge("cosyhost_backup_period_seconds", "How often it is to run.", record.period_s)
    yield gauge(
        "cosyhost_backup_last_success_timestamp_seconds",
        "When a backup last went well; none before the first.",
        record.ended,
    )
    yield gauge(
        "cosyhost_backup_last_check_timestamp_seconds",
        "When the repository itself was last proved; none before the first time.",
        record.checked,
    )
    if record.ended is not None:
        yield gauge("cosyhost_backup_run_seconds", "How long it last ran.", record.run_seconds)
        yield gauge("cosyhost_backup_files", "Files of the last snapshot.", record.files)
        yield gauge("cosyhost_backup_bytes", "What the last snapshot holds.", record.bytes)
        yield gauge(
            "cosyhost_backup_added_bytes",
            "What the last snapshot added to the repository.",
            record.added_bytes,
        )
