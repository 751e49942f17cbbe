"""The chore `cosyhost retention`: one run at a time, told to people, systemd and the exporter."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cosyhost import logs
from cosyhost.config import Config
from cosyhost.errors import RETENTION_BUSY, RETENTION_NO_ROOM, Problem
from cosyhost.retention.places import place_of
from cosyhost.retention.policy import Policy
from cosyhost.retention.run import Report, run
from cosyhost.systemd import notify, state_folder

log = logging.getLogger(__name__)

RECORD = "last.json"
# By how much clock and uptime may disagree since the last run: a leap, and what NTP slews.
_CLOCK_SLACK_S = 3600.0
_TELL_EVERY_S = 2.0


class Record(msgspec.Struct, frozen=True):
    """What the last good run left for the next one, and for the exporter; sums over all runs.

    `ended` are Unix seconds, `uptime_s` those since the boot `boot_id`.
    """

    ended: float
    boot_id: str
    uptime_s: float
    period_s: int
    run_seconds: float
    deleted_files_total: int
    deleted_bytes_total: int


def serve(config: Config, *, dry: bool, as_json: bool) -> None:
    """Run once and say what was done; with `dry`, what would be.

    Raises:
        Problem: RETENTION_PLACE, RETENTION_BUSY, or RETENTION_NO_ROOM when all that may go is gone
            and the limits still do not hold.
    """
    limits = config.retention
    policy = Policy(limits.max_age_s, limits.max_bytes, limits.min_free_bytes)
    folder = state_folder()
    with _alone(folder), place_of(config.store) as place:
        last = _read(folder)
        leap_s = clock_leap_s(last)
        if abs(leap_s) > _CLOCK_SLACK_S:
            _say_leap(leap_s)
        report = run(
            place,
            policy,
            now=time.time(),
            dry=dry,
            progress=_Teller(dry),
            age=abs(leap_s) <= _CLOCK_SLACK_S,
        )
        if not dry and folder is not None:
            _write(folder, last, report, limits.period_s)
    if logs.to_journal():
        log.info(
            "%d of %d outputs deleted",
            report.deleted_files,
            report.seen_files,
            extra={"files": report.deleted_files, "bytes": report.deleted_bytes},
        )
    else:
        print(json.dumps(document(report, dry)) if as_json else summary(report, policy, dry))
    if report.lacking_bytes:
        raise Problem(
            RETENTION_NO_ROOM,
            lacking_mb=report.lacking_bytes / 1e6,
            in_use=report.in_use_files,
        )


def document(report: Report, dry: bool) -> dict[str, object]:
    """The report for programs; bytes and seconds."""
    return {"dry_run": dry, **vars(report)}


def summary(report: Report, policy: Policy, dry: bool) -> str:
    """The report for people, in both languages."""
    will = ("would be deleted", "将被删除") if dry else ("deleted", "已删除")
    age = f"{policy.max_age_s / 86400:g} d" if policy.max_age_s else "-"
    quota = f"{policy.max_bytes / 1e9:g} GB" if policy.max_bytes else "-"
    free = f"{policy.min_free_bytes / 1e9:g} GB" if policy.min_free_bytes else "-"
    rows = [
        ("outputs 输出", report.seen_files, report.seen_bytes),
        (f"too old 过期 (> {age}), {will[0]} {will[1]}", report.old_files, report.old_bytes),
        (
            f"too many 超额 (quota 配额 {quota}, free 空闲 {free}), {will[0]} {will[1]}",
            report.excess_files,
            report.excess_bytes,
        ),
    ]
    lines = [f"{count:>9,} files {size / 1e6:>12,.1f} MB  {what}" for what, count, size in rows]
    if report.in_use_files:
        lines.append(f"{report.in_use_files:>9,} files kept: just fetched 刚被读取，暂不删除")
    if report.free_bytes is not None:
        lines.append(f"{report.free_bytes / 1e6:,.1f} MB free on the volume 卷上空闲")
    return "\n".join(lines)


def clock_leap_s(last: Record | None) -> float:
    """By how many seconds the clock went further than the uptime since the last run.

    Without a run in this boot it cannot be told but for a clock that went back; 0 then.
    """
    if last is None:
        return 0.0
    gone_s = time.time() - last.ended
    if last.boot_id != _boot_id():
        return min(0.0, gone_s)
    return gone_s - (time.clock_gettime(time.CLOCK_BOOTTIME) - last.uptime_s)


class _Teller:
    """Says how far a long run is, to systemd and to a terminal."""

    def __init__(self, dry: bool) -> None:
        self._did = "would delete" if dry else "deleted"
        self._last = time.monotonic()

    def __call__(self, report: Report) -> None:
        if time.monotonic() - self._last < _TELL_EVERY_S:
            return
        self._last = time.monotonic()
        line = (
            f"looked at {report.seen_files:,} files, {self._did} {report.deleted_files:,} "
            f"({report.deleted_bytes / 1e6:,.0f} MB)"
        )
        notify(f"STATUS={line}")
        _say_aside(line, logging.INFO)


def _say_leap(leap_s: float) -> None:
    way = ("ahead", "快") if leap_s > 0 else ("back", "慢")
    hours = abs(leap_s) / 3600
    _say_aside(
        f"the clock went {hours:.1f} h {way[0]} since the last run: nothing is deleted "
        f"for its age this time. Check the host's time. "
        f"时钟自上次运行以来{way[1]}了 {hours:.1f} 小时，"
        "本次不按时间删除，请检查主机时间。",
        logging.WARNING,
    )


def _say_aside(line: str, level: int) -> None:
    if logs.to_journal():
        log.log(level, "%s", line)
    else:
        print(f"cosyhost: {line}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _alone(folder: Path | None) -> Iterator[None]:
    """Hold the lock that keeps a second run out; it ends with the process, however that ends."""
    if folder is None:
        yield
        return
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Problem(RETENTION_BUSY) from None
        yield


def _read(folder: Path | None) -> Record | None:
    try:
        return (
            None
            if folder is None
            else msgspec.json.decode((folder / RECORD).read_bytes(), type=Record)
        )
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _write(folder: Path, last: Record | None, report: Report, period_s: int) -> None:
    """Whole or not at all: the exporter may read it at any moment."""
    record = Record(
        ended=time.time(),
        boot_id=_boot_id(),
        uptime_s=time.clock_gettime(time.CLOCK_BOOTTIME),
        period_s=period_s,
        run_seconds=round(report.seconds, 3),
        deleted_files_total=(last.deleted_files_total if last else 0) + report.deleted_files,
        deleted_bytes_total=(last.deleted_bytes_total if last else 0) + report.deleted_bytes,
    )
    new = folder / f".{RECORD}"
    new.write_bytes(msgspec.json.encode(record))
    new.chmod(0o644)
    new.replace(folder / RECORD)


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
