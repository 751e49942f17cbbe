"""`make vuln`: what it says and how it ends, for databases that are fit and those that aren't."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.supply import ROOT, osv, vuln
from tests.unit.supply.test_osv import record

NOW = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)
PYPI, NPM = osv.PYPI, osv.NPM


def export(folder: Path, ecosystem: str, *records: dict[str, Any]) -> Path:
    """A database as OSV exports it: one zip for an ecosystem, one file for a record."""
    path = folder / ecosystem / "all.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in records:
            archive.writestr(f"{one['id']}.json", json.dumps(one))
    return path


def other(ecosystem: str) -> dict[str, Any]:
    """A record about nothing that is used here."""
    return record({"introduced": "0"}, ecosystem=ecosystem, name="left-pad-x", id="MAL-2026-1")


@pytest.fixture
def pinned() -> dict[str, str]:
    return {
        package.name: package.version
        for package, used_by in vuln.inventory().items()
        if "web" in used_by
    }


@pytest.fixture
def db(tmp_path: Path) -> Path:
    for ecosystem in (PYPI, NPM):
        export(tmp_path / "db", ecosystem, other(ecosystem))
    return tmp_path / "db"


def waiver(path: Path, **fields: str) -> Path:
    said = {"id": "CVE-2026-54121", "reason": "not reached", "until": "2026-12-31", "by": "A"}
    lines = [f"{name}: {value}" for name, value in (said | fields).items()]
    path.write_text("- " + "\n  ".join(lines) + "\n", encoding="utf-8")
    return path


def test_everything_pinned_is_looked_up() -> None:
    inventory = vuln.inventory()
    used_by = {name for names in inventory.values() for name in names}
    assert {"web", "worker", "exporter", "control", "page", "build", "pictures"} <= used_by
    assert {"engine-cosyvoice-cpu", "engine-cosyvoice-cu128"} <= used_by
    assert {package.ecosystem for package in inventory} == {PYPI, NPM}


def test_nothing_found(db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert vuln.main([str(db)], NOW) == vuln.NONE
    said = capsys.readouterr().out
    assert "0 found, 0 waived" in said
    assert "2 records up to 2026-11-20" in said


def test_a_pinned_version_is_found_and_the_next_is_not(
    db: Path, pinned: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    mine = pinned["celery"]  # one version in all locks
    export(db, PYPI, record({"introduced": "0"}, {"fixed": mine}, name="celery"))
    assert vuln.main([str(db)], NOW) == vuln.NONE
    capsys.readouterr()
    export(
        db,
        PYPI,
        record(
            {"introduced": mine},
            {"fixed": "999.0"},
            name="celery",
            database_specific={"severity": "MODERATE"},
        ),
    )
    assert vuln.main([str(db)], NOW) == vuln.FOUND
    said = capsys.readouterr().out
    assert f"celery {mine} (PyPI; " in said
    assert "GHSA-2c2j-9gv5-cj73 CVE-2026-54121: Multipart parsing blocks the main thread" in said
    assert "MODERATE; mended in 999.0" in said
    assert "1 found, 0 waived" in said


def test_a_package_of_the_page_is_found(db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = record({"introduced": "0"}, ecosystem=NPM, name="swagger-ui-dist", type="SEMVER")
    export(db, NPM, said)
    assert vuln.main([str(db)], NOW) == vuln.FOUND
    assert "(npm; page)" in capsys.readouterr().out


def test_records_that_are_aliases_are_one_finding(
    db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = record({"introduced": "0"})
    second = record({"introduced": "0"}, id="PYSEC-2026-7", aliases=["CVE-2026-54121"], summary="")
    apart = record({"introduced": "0"}, id="PYSEC-2026-8", aliases=[])
    export(db, PYPI, second, first, apart)
    assert vuln.main([str(db), "--json"], NOW) == vuln.FOUND
    said = json.loads(capsys.readouterr().out)
    versions = {one["version"] for one in said["found"]}
    assert len(said["found"]) == 2 * len(versions)
    ids = {tuple(one["ids"]) for one in said["found"]}
    assert ids == {("GHSA-2c2j-9gv5-cj73", "PYSEC-2026-7", "CVE-2026-54121"), ("PYSEC-2026-8",)}
    assert said["found"][0]["summary"] == "Multipart parsing blocks the main thread"
    assert "web" in said["found"][0]["used_by"]


def test_a_waiver_under_any_name_counts_until_its_day(
    db: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(db, PYPI, record({"introduced": "0"}))
    command = [str(db), "--waivers", str(waiver(tmp_path / "w.yml", until="2026-11-25"))]
    assert vuln.main(command, NOW) == vuln.NONE
    assert "waived until 2026-11-25: not reached (A)" in capsys.readouterr().out
    assert vuln.main(command, NOW + timedelta(days=1)) == vuln.FOUND
    assert "its waiver ended on 2026-11-25: not reached (A)" in capsys.readouterr().out


def test_a_waiver_for_nothing_is_told(
    db: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = waiver(tmp_path / "w.yml", id="CVE-1999-0001")
    assert vuln.main([str(db), "--waivers", str(path)], NOW) == vuln.NONE
    assert "The waiver for CVE-1999-0001 matches nothing: remove it." in capsys.readouterr().out
    vuln.main([str(db), "--json", "--waivers", str(path)], NOW)
    assert json.loads(capsys.readouterr().out)["unused_waivers"][0]["id"] == "CVE-1999-0001"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- {id: CVE-1, reason: r, by: A}", "needs id, reason, until, by"),
        ("- {id: C, reason: r, until: 2026-12-31, by: A, for: ever}", "needs id"),
        ("- {id: CVE-1, reason: '', until: 2026-12-31, by: A}", "leaves id, reason or by empty"),
        ("- {id: CVE-1, reason: r, until: soon, by: A}", "until is a day"),
        ("- {id: CVE-1, reason: r, until: 2026-12-31 10:00:00, by: A}", "until is a day"),
        ("id: CVE-1", "no list of waivers"),
        ("- {", "cannot be read"),
    ],
)
def test_a_waiver_that_says_too_little_gives_no_answer(
    db: Path, tmp_path: Path, text: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w.yml"
    path.write_text(text, encoding="utf-8")
    assert vuln.main([str(db), "--waivers", str(path)], NOW) == vuln.NO_ANSWER
    assert reason in capsys.readouterr().err


def spoil_missing(path: Path) -> None:
    path.unlink()


def spoil_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def spoil_other(path: Path) -> None:
    path.write_bytes(b"<html>not found</html>")


def spoil_bytes(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[60:70] = b"0123456789"
    path.write_bytes(bytes(data))


def spoil_empty(path: Path) -> None:
    export(path.parents[1], path.parent.name)


def spoil_json(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("GHSA-1.json", "{")


def spoil_schema(path: Path) -> None:
    export(path.parents[1], path.parent.name, {"id": "GHSA-1", "affected": []})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_missing, "is not there"),
        (spoil_cut, "is no whole zip file"),
        (spoil_other, "is no whole zip file"),
        (spoil_bytes, "is no whole zip file"),
        (spoil_empty, "holds no record"),
        (spoil_json, "GHSA-1.json is no OSV record"),
        (spoil_schema, "GHSA-1.json is no OSV record"),
    ],
)
@pytest.mark.parametrize("ecosystem", [PYPI, NPM])
def test_a_database_that_is_not_fit_gives_no_answer(
    db: Path, ecosystem: str, spoil: Any, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = db / ecosystem / "all.zip"
    spoil(path)
    assert vuln.main([str(db)], NOW) == vuln.NO_ANSWER
    said = capsys.readouterr()
    assert said.out == ""
    assert reason in said.err
    assert f"curl --fail --create-dirs --output {path} {vuln.EXPORT}/{ecosystem}/" in said.err


def test_an_old_database_gives_no_answer(db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    late = NOW + timedelta(days=26)  # the newest record is of November 20
    assert vuln.main([str(db)], late) == vuln.NO_ANSWER
    assert "its newest record is of 2026-11-20, 31 days ago" in capsys.readouterr().err
    assert vuln.main([str(db)], late - timedelta(days=1, hours=12)) == vuln.NONE
    assert vuln.main([str(db), "--max-age-days", "31"], late) == vuln.NONE


def test_a_record_of_another_shape_about_what_is_pinned_gives_no_answer(
    db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = record({"introduced": "0"})
    odd["affected"][0]["ranges"][0]["events"] = "all"
    export(db, PYPI, odd)
    assert vuln.main([str(db)], NOW) == vuln.NO_ANSWER
    assert "GHSA-2c2j-9gv5-cj73 is no OSV record" in capsys.readouterr().err


def test_the_committed_waivers_can_be_read(db: Path) -> None:
    assert vuln.main([str(db)], NOW) == vuln.NONE


def test_the_command_itself_uses_no_network(db: Path) -> None:
    """In a network namespace without any interface."""
    today = datetime.now(timezone.utc).isoformat()
    for ecosystem in (PYPI, NPM):
        export(db, ecosystem, other(ecosystem) | {"modified": today})
    ended = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "tests.supply.vuln", str(db)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == vuln.NONE, ended.stderr
    assert "0 found" in ended.stdout
