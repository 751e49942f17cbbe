"""What goes to the journal: lines of JSON with their level, and nobody's words."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from cosyhost import logs

CANARY = "canary-7f3a-金丝雀"


def said(tmp_path: Path, script: str, *, journal: bool = True, status: int = 0) -> list[str]:
    """The lines that a process writes to stderr; with `journal` as if systemd had made it."""
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("w") as stdout, err.open("w") as stderr:
        place = os.fstat(stderr.fileno())
        told = {"JOURNAL_STREAM": f"{place.st_dev}:{place.st_ino}"} if journal else {}
        ran = subprocess.run(
            [sys.executable, "-c", f"from cosyhost import logs\nlogs.set_up()\n{script}"],
            stdout=stdout, stderr=stderr, check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **told},
        )  # fmt: skip
    assert ran.returncode == status, err.read_text()
    if journal:
        assert out.read_text() == ""
    return err.read_text(encoding="utf-8").splitlines()


def parsed(line: str) -> tuple[int, dict[str, Any]]:
    """A line's priority, and what it holds."""
    priority, _, text = line.removeprefix("<").partition(">")
    return int(priority), json.loads(text)


def test_a_record_is_a_line_of_json_behind_its_priority(tmp_path: Path) -> None:
    (line,) = said(
        tmp_path,
        "import logging\n"
        "logging.getLogger('cosyhost.worker').warning('job\\nfailed %s', '语音', "
        "extra={'job': 'a1', 'attempt': 2, 'code': 'engine_failed', 'data': 'left out'})",
    )
    priority, told = parsed(line)
    assert priority == 4
    assert told.pop("time").endswith("Z")
    assert told == {
        "level": "warning",
        "logger": "cosyhost.worker",
        "message": "job\nfailed 语音",
        "job": "a1",
        "attempt": 2,
        "code": "engine_failed",
    }


def test_an_exception_tells_type_and_places_and_none_of_its_words(tmp_path: Path) -> None:
    (line,) = said(
        tmp_path,
        "import logging\n"
        "def inner(): int('" + CANARY + "')\n"
        "try:\n"
        "    try: inner()\n"
        "    except ValueError as error: raise RuntimeError('" + CANARY + "') from error\n"
        "except RuntimeError: logging.getLogger('cosyhost').exception('broke')",
    )
    priority, told = parsed(line)
    assert priority == 3
    assert told["exception"]["type"] == "RuntimeError"
    assert told["exception"]["cause"]["type"] == "ValueError"
    assert told["exception"]["cause"]["at"][-1].endswith(" inner")
    assert CANARY not in line


def test_a_librarys_record_loses_the_words_of_its_exception(tmp_path: Path) -> None:
    lines = said(
        tmp_path,
        "import asyncio, gc, logging\n"
        f"error = KeyError('{CANARY}')\n"
        "logging.getLogger('celery.app.trace').error('Task x raised: %r\\n%s', error, 'trace "
        + CANARY
        + "', exc_info=error)\n"
        "async def fail(): raise ValueError('" + CANARY + "')\n"
        "async def main():\n"
        "    task = asyncio.create_task(fail()); await asyncio.sleep(0); del task; gc.collect()\n"
        "asyncio.run(main())",
    )
    assert CANARY not in "".join(lines)
    assert [parsed(line)[1]["message"] for line in lines] == [
        "Task x raised: KeyError",
        "Task exception was never retrieved",
    ]


def test_what_is_printed_is_left_out_and_told_of_once(tmp_path: Path) -> None:
    lines = said(
        tmp_path,
        "import os, sys, traceback\n"
        f"for _ in range(3): print('{CANARY}')\n"
        f"os.write(1, b'from C')\n"
        "try: int('" + CANARY + "')\n"
        "except ValueError: traceback.print_exc()",
    )
    assert CANARY not in "".join(lines)
    prints, trace = (parsed(line)[1] for line in lines)
    assert "printed something" in prints["message"]
    assert "exception" not in prints
    assert trace["exception"]["type"] == "ValueError"


def test_what_nobody_caught_is_a_record(tmp_path: Path) -> None:
    lines = said(
        tmp_path,
        "import threading\n"
        "def fail(): raise ValueError('" + CANARY + "')\n"
        "thread = threading.Thread(target=fail, name='t'); thread.start(); thread.join()\n"
        "fail()",
        status=1,
    )
    assert CANARY not in "".join(lines)
    assert [parsed(line)[1]["level"] for line in lines] == ["error", "critical"]


def test_a_warning_of_pythons_is_a_record(tmp_path: Path) -> None:
    (line,) = said(tmp_path, "import warnings\nwarnings.warn('old')")
    assert parsed(line)[1]["logger"] == "py.warnings"


def test_elsewhere_it_is_text_without_the_words_unless_it_is_a_terminal(tmp_path: Path) -> None:
    first, *rest = said(
        tmp_path,
        "import logging\n"
        "try: int('" + CANARY + "')\n"
        "except ValueError: logging.getLogger('cosyhost').exception('broke', extra={'job': 'a1'})",
        journal=False,
    )
    assert first == "ERROR cosyhost: broke job=a1"
    assert rest[0].strip() == "ValueError"
    assert CANARY not in "".join(rest)
    record = logging.makeLogRecord({"name": "x", "exc_info": (ValueError, ValueError("why"), None)})
    assert "why" in logs.Text(whole=True).format(record)


def test_a_record_that_does_not_fit_its_format_is_told_all_the_same() -> None:
    record = logging.makeLogRecord({"msg": "%d \ud800", "args": ("x",)})
    assert json.loads(logs.Line().format(record)[3:])["message"] == "%d \\ud800"


def test_outside_of_a_unit_nothing_goes_to_the_journal() -> None:
    assert not logs.to_journal()
