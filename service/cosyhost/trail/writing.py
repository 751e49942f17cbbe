"""Appending to the trail, from any number of processes at once."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from cosyhost.errors import INTERNAL_ERROR, TRAIL_UNAVAILABLE, Problem
from cosyhost.trail.record import KEY, Event, Outcome, Record, digest, file_of, moment

log = logging.getLogger(__name__)

_RETRY_AFTER_S = 30
_KEY_BYTES = 32


class Trail:
    """The trail in `folder`; None writes none. Nothing in here may run on an event loop.

    Where it is `strict`, what is not recorded is not done: acceptances are on the disk before
    anything begins. Elsewhere a record that can't be written is logged, and work goes on; records
    reach the disk when the kernel writes them, which only a power cut makes a difference.
    """

    def __init__(self, folder: Path | None, *, strict: bool) -> None:
        self._folder = folder
        self._strict = strict
        self._key: bytes | None = None

    @property
    def off(self) -> bool:
        """Whether there is no trail, and none is asked for."""
        return self._folder is None and not self._strict

    @property
    def strict(self) -> bool:
        """Whether what is not recorded must not be done."""
        return self._strict

    def check(self) -> None:
        """Prove that there may be written.

        Raises:
            Problem: TRAIL_UNAVAILABLE.
        """
        if self.off:
            return
        try:
            if not os.access(self._there(), os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise _unavailable(error) from error

    @contextlib.contextmanager
    def about(self, event: Event, **known: Any) -> Iterator[Entry]:
        """Something that may come to be recorded; if it fails, its refusal is.

        `known` are fields of `Record`.
        """
        entry = Entry(self, event, known)
        try:
            yield entry
        except Exception as error:
            kind = error.kind if isinstance(error, Problem) else INTERNAL_ERROR
            entry.end("refused", kind.code)
            raise

    def append(self, record: Record, *, text: str | None = None, sync: bool = False) -> None:
        """Write one line with one write(2), whole for every other process; `text` goes in hashed.

        With `sync` it is on the disk when this returns.

        Raises:
            OSError: it is not written, or not whole.
        """
        folder = self._there()
        if text is not None:
            record = msgspec.structs.replace(record, text=digest(self._read_key(folder), text))
        line = msgspec.json.encode(record) + b"\n"
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(folder / file_of(record.time), flags, 0o640)
        try:
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":
                # A full disk or a power cut ended the line before: it spoils no other. Where that
                # line was only on its way, this makes an empty one, which is no record.
                line = b"\n" + line
            if os.write(file, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if sync:
                os.fdatasync(file)
        finally:
            os.close(file)

    def _there(self) -> Path:
        if self._folder is None:
            raise OSError(errno.ENOENT, "this process was given no LogsDirectory=")
        return self._folder

    def _read_key(self, folder: Path) -> bytes:
        """The host's own key, made by whoever needs it first."""
        if self._key is None:
            with contextlib.suppress(FileNotFoundError):
                self._key = (folder / KEY).read_bytes()
        if self._key is None:
            draft = folder / f"{KEY}-{secrets.token_hex(8)}"
            file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.write(file, secrets.token_bytes(_KEY_BYTES))
                os.fsync(file)
                with contextlib.suppress(FileExistsError):  # another process was quicker
                    os.link(draft, folder / KEY)
            finally:
                os.close(file)
                draft.unlink()
            self._key = (folder / KEY).read_bytes()
        return self._key


class Entry:
    """One event on its way through the checks."""

    def __init__(self, trail: Trail, event: Event, known: dict[str, Any]) -> None:
        self._trail = trail
        self._event = event
        self._known = known
        self._text: str | None = None

    def know(self, *, text: str | None = None, **known: Any) -> None:
        """Add what has become known: the plain `text`, and fields of `Record`."""
        self._text = self._text if text is None else text
        self._known |= known

    def accept(self, **known: Any) -> None:
        """Record that it begins now.

        Raises:
            Problem: TRAIL_UNAVAILABLE, where it must not begin unrecorded.
        """
        self.know(**known)
        self._write("accepted", must=self._trail.strict)

    def end(self, outcome: Outcome, code: str = "") -> None:
        """Record what came of it."""
        self._write(outcome, code=code)

    def _write(self, outcome: Outcome, *, code: str = "", must: bool = False) -> None:
        if self._trail.off:
            return
        now = moment(time.time())
        record = Record(time=now, event=self._event, outcome=outcome, code=code, **self._known)
        try:
            self._trail.append(record, text=self._text, sync=must)
        except OSError as error:
            if must:
                raise _unavailable(error) from error
            log.error("%s, %s: not recorded: %s", self._event, outcome, error)


def _unavailable(error: OSError) -> Problem:
    reason = error.strerror or str(error)
    return Problem(TRAIL_UNAVAILABLE, reason=reason, retry_after_s=_RETRY_AFTER_S)
