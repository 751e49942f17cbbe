"""How processes log: a line of JSON for the journal, readable text elsewhere; nobody's words.

What users write, their names for voices and their sound reach a log most easily in the message of
an exception, which quotes what it could not take, and in what libraries print. So a record tells an
exception's type and places, and of a print that there was one. Who knows that a message is harmless
puts it into the record's own.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

# What `extra=` may bring. Other programs' extras (Celery's hold a task's arguments) stay out.
FIELDS = (
    "job", "attempt", "seconds", "code", "reference", "gpu", "children", "child", "part", "files",
    "bytes",
)  # fmt: skip
# sd-daemon(3): journald takes the level from the beginning of a line.
_PRIORITIES = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
_OURS = "cosyhost"
# journald cuts a line above 48 KiB in two.
_MESSAGE_MAX, _PLACES_MAX, _CAUSES_MAX = 8_000, 20, 4
# A line for each request, or for each child and its memory.
_QUIET = ("httpx", "multiprocessing")

log = logging.getLogger(__name__)


def to_journal() -> bool:
    """Whether what is written to stderr goes to journald (systemd.exec(5), JOURNAL_STREAM)."""
    told = os.environ.get("JOURNAL_STREAM")
    if not told:
        return False
    stderr = os.fstat(2)
    return told == f"{stderr.st_dev}:{stderr.st_ino}"


def set_up() -> None:
    """Let all that this process and its libraries log come out one way."""
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    if not to_journal():
        if not root.handlers:
            root.addHandler(text := logging.StreamHandler())
            text.setFormatter(Text(whole=sys.stderr.isatty()))
        return
    root.handlers[:] = [_Journal()]
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    # Ours comes by the handler; so does a crash's stack, which is written to the descriptor.
    sys.stdout = sys.stderr = _Prints()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def tell(line: str) -> None:
    """The outcome of a chore: printed for who started it, a record where that is systemd."""
    if to_journal():
        logging.getLogger(_OURS).info("%s", line)
    else:
        print(line, flush=True)


class Line(logging.Formatter):
    """A record as one line of JSON behind its priority."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        told: dict[str, Any] = {
            "time": f"{when}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message_of(record),
            **fields_of(record),
        }
        if error := _error_of(record):
            told["exception"] = exception_of(error)
        # The standard library's: a verb that needs no packages logs too.
        line = json.dumps(told, ensure_ascii=False, separators=(",", ":"), default=str)
        return f"<{_PRIORITIES.get(record.levelname, 6)}>{line}"


class Text(logging.Formatter):
    """A record for people; only a terminal (`whole`) gets an exception's own words."""

    def __init__(self, *, whole: bool) -> None:
        super().__init__()
        self._whole = whole

    def format(self, record: logging.LogRecord) -> str:
        parts = [f"{record.levelname} {record.name}: {message_of(record)}"]
        parts += [f"{name}={value}" for name, value in fields_of(record).items()]
        lines = [" ".join(parts)]
        error = _error_of(record)
        if error and self._whole:
            lines.append("".join(traceback.format_exception(error)).rstrip())
        elif error:
            told = exception_of(error)
            lines += [f"  {told['type']}", *(f"    {place}" for place in told["at"])]
        return "\n".join(lines)


def message_of(record: logging.LogRecord) -> str:
    """The message; of others' records about an exception its first line, without its words."""
    try:
        said = record.getMessage()
    except Exception:  # values that do not fit the format
        said = str(record.msg)
    error = _error_of(record)
    if error and record.name.partition(".")[0] != _OURS:
        said = said.partition("\n")[0]
        for words in filter(None, (repr(error), str(error))):
            said = said.replace(words, type(error).__name__)
    return said[:_MESSAGE_MAX].encode(errors="backslashreplace").decode()


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Those of FIELDS that the record has."""
    return {name: record.__dict__[name] for name in FIELDS if name in record.__dict__}


def exception_of(error: BaseException) -> dict[str, Any]:
    """Type and places, the innermost last, and the same of what caused it; not what it says."""
    told = inner = _type_and_places(error)
    for _ in range(_CAUSES_MAX):
        before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if before is None:
            break
        error, inner["cause"] = before, _type_and_places(before)
        inner = inner["cause"]
    return told


def _error_of(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None


def _type_and_places(error: BaseException) -> dict[str, Any]:
    kind = type(error)
    name = kind.__qualname__
    frames = traceback.extract_tb(error.__traceback__)[-_PLACES_MAX:]
    return {
        "type": name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}",
        "at": [f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames],
    }


def _short(filename: str) -> str:
    return filename.rpartition("/site-packages/")[2] or "/".join(Path(filename).parts[-3:])


class _Journal(logging.Handler):
    """Each record with a write of its own: a worker's children share the stream."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(Line())

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # journald is away, and nobody could be told
            os.write(2, f"{self.format(record)}\n".encode())


class _Prints(io.TextIOBase):
    """Takes what is printed, and tells once where, and of which exception it was."""

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[str, int] | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2

    def write(self, text: str) -> int:
        if text.strip():
            frame = sys._getframe(1)
            while frame.f_back and frame.f_code.co_filename == traceback.__file__:
                frame = frame.f_back
            place = f"{_short(frame.f_code.co_filename)}:{frame.f_lineno}"
            error = sys.exc_info()[1]
            if self._last != (place, id(error)):
                self._last = (place, id(error))
                log.warning("%s printed something, which is left out", place, exc_info=error)
        return len(text)


def _uncaught(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        log.critical("the process ends by an exception", exc_info=error)


def _uncaught_in_thread(told: threading.ExceptHookArgs) -> None:
    if isinstance(told.exc_value, SystemExit):
        return
    name = told.thread.name if told.thread else "?"
    log.error("the thread %s ended by an exception", name, exc_info=told.exc_value)
