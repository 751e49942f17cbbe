"""The trail's files: whole lines from many writers, damage that spreads no further, the export."""

from __future__ import annotations

import csv
import errno
import io
import json
import multiprocessing
import os
import stat
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosyhost import cli
from cosyhost.errors import VOICE_UNKNOWN, Problem
from cosyhost.trail import Record, Trail, moment
from cosyhost.trail.reading import Line, lines
from cosyhost.trail.record import KEY, digest
from tests.unit.service.conftest import ROOT

DAY = "trail-2026-11-25.jsonl"
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
records = st.builds(
    Record,
    time=st.just("2026-11-25T10:00:00.000Z"),
    event=st.sampled_from(["speech", "voice_added"]),
    outcome=st.sampled_from(["accepted", "done"]),
    consent=words,
    name=words,
)


def record(time: str = "2026-11-25T10:00:00.000Z", **fields: object) -> Record:
    known = {"time": time, "event": "speech", "outcome": "accepted", **fields}
    return msgspec.convert(known, Record)


def read(folder: Path) -> list[Record]:
    """All that can be read, in order."""
    return [line.record for line in lines(folder) if line.record]


def damaged(folder: Path) -> list[Line]:
    return [line for line in lines(folder) if line.record is None]


@given(st.lists(records, max_size=5), st.data())
def test_a_line_cut_off_anywhere_spoils_no_other(kept: list[Record], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trail = Trail(folder, strict=False)
        for one in kept:
            trail.append(one)
        file = folder / DAY
        written = file.read_bytes() if kept else b""
        cut = data.draw(st.integers(0, len(written)))
        file.write_bytes(written[:cut])
        after = record(job="after")
        trail.append(after)
        whole = written[:cut].count(b"\n")
        found = read(folder)
        assert found[:whole] == kept[:whole]
        assert found[-1] == after
        # A line that lacks its end only is still a record.
        assert (
            len(found) + len(damaged(folder))
            == whole + (written[:cut][-1:] not in (b"", b"\n")) + 1
        )
        assert len(damaged(folder)) <= 1


@given(records)
def test_what_is_written_is_read(one: Record) -> None:
    with tempfile.TemporaryDirectory() as name:
        Trail(Path(name), strict=False).append(one)
        assert read(Path(name)) == [one]


WRITERS, EACH = 6, 150


def _write(folder: Path, writer: int) -> None:
    trail = Trail(folder, strict=False)
    for number in range(EACH):
        # Long and short ones: from 100 bytes to more than a page.
        consent = "同意" * (number % 7) * 120
        trail.append(record(job=f"{writer}/{number}", consent=consent), text=f"{number}")


def test_writers_in_many_processes_lose_and_mix_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(tmp_path, n)) for n in range(WRITERS)]
    for process in writers:
        process.start()
    for process in writers:
        process.join()
        assert process.exitcode == 0
    found = read(tmp_path)
    assert damaged(tmp_path) == []
    assert sorted(one.job for one in found) == sorted(
        f"{writer}/{number}" for writer in range(WRITERS) for number in range(EACH)
    )
    for which in range(WRITERS):  # each in its own order
        own = [one.job for one in found if one.job.startswith(f"{which}/")]
        assert own == [f"{which}/{number}" for number in range(EACH)]
    # All had the one key, whoever made it.
    assert len({one.text for one in found}) == EACH
    assert sorted(path.name for path in tmp_path.iterdir()) == [KEY, DAY]


def test_files_are_closed_to_others_and_the_key_to_all_but_the_service(tmp_path: Path) -> None:
    Trail(tmp_path, strict=True).append(record(), text="你好", sync=True)
    assert stat.S_IMODE((tmp_path / KEY).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / DAY).stat().st_mode) & 0o137 == 0
    assert len((tmp_path / KEY).read_bytes()) == 32


def test_a_text_is_found_again_with_the_key_only(tmp_path: Path) -> None:
    trail = Trail(tmp_path, strict=False)
    trail.append(record(), text="Café。")
    (found,) = read(tmp_path)
    key = (tmp_path / KEY).read_bytes()
    assert found.text == digest(key, unicodedata.normalize("NFD", " Café。\n"))
    assert found.text != digest(b"another", "Café。")
    assert "Caf" not in (tmp_path / DAY).read_text()


def test_each_record_lies_in_the_file_of_its_own_day(tmp_path: Path) -> None:
    trail = Trail(tmp_path, strict=False)
    trail.append(record(moment(1795651199.9996)))
    trail.append(record(moment(1795651200.0)))
    assert [line.file for line in lines(tmp_path)] == [DAY, "trail-2026-11-26.jsonl"]


def full_disk(monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    """Writes of more than `left` bytes end there, as on a full disk."""
    real = os.write

    def write(file: int, data: bytes) -> int:
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data[:left])

    monkeypatch.setattr(os, "write", write)


@pytest.mark.parametrize("left", [0, 10])
def test_on_a_full_disk_nothing_begins_where_it_must_be_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    trail = Trail(tmp_path, strict=True)
    full_disk(monkeypatch, left)
    begun: list[str] = []

    def begin() -> None:
        with trail.about("speech") as entry:
            entry.accept()
            begun.append("something")

    with pytest.raises(Problem) as refused:
        begin()
    assert (begun, refused.value.kind.code) == ([], "trail_unavailable")
    assert refused.value.retry_after_s
    monkeypatch.undo()
    with trail.about("speech") as entry:
        entry.accept(job="next")
    assert [one.job for one in read(tmp_path)] == ["next"]


def test_on_a_full_disk_work_goes_on_elsewhere_and_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full_disk(monkeypatch, 0)
    with Trail(tmp_path, strict=False).about("speech") as entry:
        entry.accept()
    assert "not recorded" in caplog.text


def test_a_process_without_a_folder_writes_none_unless_it_must() -> None:
    trail = Trail(None, strict=False)
    with trail.about("speech") as entry:
        entry.accept(text="x")
    trail.check()
    with pytest.raises(Problem, match="LogsDirectory"):
        Trail(None, strict=True).check()


def test_what_fails_is_recorded_as_refused_with_what_was_known(tmp_path: Path) -> None:
    trail = Trail(tmp_path, strict=True)

    def delete() -> None:
        with trail.about("voice_deleted", user="u") as entry:
            entry.know(name="Anna")
            raise Problem(VOICE_UNKNOWN, name="Anna")

    with pytest.raises(Problem):
        delete()
    with pytest.raises(ZeroDivisionError), trail.about("speech"):
        raise ZeroDivisionError
    first, second = read(tmp_path)
    assert (first.outcome, first.code, first.user, first.name) == (
        *("refused", "voice_unknown"),
        *("u", "Anna"),
    )
    assert second.code == "internal_error"


# The export


def export(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> tuple[int, str]:
    status = cli.main(["trail", "--folder", str(folder), *arguments])
    return status, capsys.readouterr().out


@pytest.fixture
def three_days(tmp_path: Path) -> Path:
    trail = Trail(tmp_path, strict=False)
    trail.append(record("2026-11-24T23:59:59.999Z", user="a", job="1"))
    trail.append(record("2026-11-25T08:30:00.000Z", user="b", job="2"), text="你好。")
    trail.append(record("2026-11-25T20:00:00.000Z", user="a", job="3", consent="=1+1"))
    trail.append(record("2026-11-26T00:00:00.000Z", user="a", job="4"))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "jobs"),
    [
        ((), "1234"),
        (("--since", "2026-11-25"), "234"),
        (("--until", "2026-11-25"), "123"),
        (("--since", "2026-11-25T08:30", "--until", "2026-11-25T20:00:00Z"), "2"),
        (("--since", "2026-11-25T08:30:00+08:00"), "234"),
        (("--since", "2026-11-27"), ""),
        (("--user", "a"), "134"),
        (("--user", "a", "--since", "2026-11-26"), "4"),
    ],
)
def test_records_are_chosen_by_time_and_user(
    capsys: pytest.CaptureFixture[str], three_days: Path, arguments: tuple[str, ...], jobs: str
) -> None:
    status, out = export(capsys, three_days, "--json", *arguments)
    assert status == 0
    assert [json.loads(line)["job"] for line in out.splitlines()] == list(jobs)


def test_json_is_what_is_recorded_byte_by_byte(
    capsys: pytest.CaptureFixture[str], three_days: Path
) -> None:
    _, out = export(capsys, three_days, "--json")
    files = sorted(three_days.glob("trail-*"))
    assert out.encode() == b"".join(file.read_bytes() for file in files)


def test_csv_has_every_column_and_no_formula(
    capsys: pytest.CaptureFixture[str], three_days: Path
) -> None:
    _, out = export(capsys, three_days, "--csv")
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert list(rows[0]) == list(Record.__struct_fields__)
    assert [row["job"] for row in rows] == list("1234")
    assert rows[2]["consent"] == "'=1+1"


def test_people_read_what_is_known_and_no_control_characters(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Trail(tmp_path, strict=False).append(record(name="Anna B", consent="\x1b[2J"))
    _, out = export(capsys, tmp_path)
    assert out == ("2026-11-25T10:00:00.000Z speech accepted name=\"Anna B\" consent='\\x1b[2J'\n")


def test_a_text_is_found(
    capsys: pytest.CaptureFixture[str], three_days: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("text") / "spoken"
    for text, jobs in (("你好。\n", ["2"]), ("你好", [])):
        file.write_text(text, encoding="utf-8")
        _, out = export(capsys, three_days, "--json", "--text", str(file))
        assert [json.loads(line)["job"] for line in out.splitlines()] == jobs


def test_damage_is_told_and_only_the_end_of_a_file_may_be_open(
    capsys: pytest.CaptureFixture[str], three_days: Path
) -> None:
    file = three_days / DAY
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"time":"2026-11-25T2')
    assert cli.main(["trail", "--folder", str(three_days)]) == 0
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 4
    assert f"{DAY}, line 3: its end is missing" in told.err
    file.write_bytes(b"\x00\xff\n\n" + whole)
    assert cli.main(["trail", "--folder", str(three_days)]) == 3
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 4
    assert f"{DAY}, line 1: damaged" in told.err
    assert "已损坏" in told.err


def test_a_line_without_end_costs_no_memory(
    capsys: pytest.CaptureFixture[str], three_days: Path
) -> None:
    with (three_days / DAY).open("r+b") as file:
        file.seek(0, os.SEEK_END)
        at = file.tell()
        file.truncate(at + 3_000_000)  # zeros, as a power cut leaves them
    program = (
        "import resource, sys; from cosyhost import cli\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "cli.main(sys.argv[1:])\n"
        "sys.exit(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > 20_000)"
    )
    assert read(three_days)[-1].job == "4"
    with (three_days / DAY).open("r+b") as file:
        file.truncate(at + 100_000_000)
    ran = subprocess.run(
        [sys.executable, "-c", program, "trail", "--folder", str(three_days), "--json"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "service")},
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) == 4


def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path: Path) -> None:
    trail = Trail(tmp_path, strict=False)
    for _ in range(3000):
        trail.append(record(consent="x" * 100))
    ran = subprocess.run(
        [
            *("bash", "-c", 'set -o pipefail; "$0" -m cosyhost.cli trail --folder "$1" | head -n1'),
            *(sys.executable, str(tmp_path)),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT / "service")},
        capture_output=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--since", "yesterday"), "trail_time_invalid"),
        (("--text", "/nowhere"), "trail_unreadable"),
        (("--folder", "/nowhere"), "trail_unreadable"),
    ],
)
def test_what_cannot_be_asked_is_told_in_both_languages(
    capsys: pytest.CaptureFixture[str], three_days: Path, arguments: tuple[str, ...], code: str
) -> None:
    assert cli.main(["trail", "--folder", str(three_days), *arguments]) == 1
    assert f"cosyhost: {code}: " in capsys.readouterr().err


def test_the_export_needs_none_of_the_services_packages() -> None:
    """It runs where the doctor does, with what the exporter has."""
    program = "import sys; from cosyhost.trail import command; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT / "service")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert {"redis", "celery", "fastapi", "obstore", "numpy"}.isdisjoint(ran.stdout.split())
