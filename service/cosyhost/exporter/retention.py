"""Metrics of the last retention run, from the record that it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from cosyhost.exporter.exposition import Family, counter, gauge
from cosyhost.host_config import Retention


class Record(msgspec.Struct):
    """What a run writes when it has done all its work; it may write more than this.

    `ended` is a Unix time in seconds; the run is repeated each `period_s`; the totals are over all
    runs of this host.
    """

    ended: float
    period_s: float
    run_seconds: float
    deleted_files_total: int
    deleted_bytes_total: int


def collect(settings: Retention) -> Iterator[Family]:
    """The families of the record; none while there is no record.

    Raises:
        OSError, msgspec.DecodeError: there is one and it can't be read, or is no such record.
    """
    try:
        said = Path(settings.record).read_bytes()
    except FileNotFoundError:
        return
    record = msgspec.json.decode(said, type=Record)
    yield gauge(
        "cosyhost_retention_last_success_timestamp_seconds",
        "When retention last did all its work.",
        record.ended,
    )
    yield gauge("cosyhost_retention_period_seconds", "How often it is to run.", record.period_s)
    yield gauge("cosyhost_retention_run_seconds", "How long it last ran.", record.run_seconds)
    yield counter(
        "cosyhost_retention_deleted_files_total", "Files it removed.", record.deleted_files_total
    )
    yield counter(
        "cosyhost_retention_deleted_bytes_total", "Bytes it removed.", record.deleted_bytes_total
    )
