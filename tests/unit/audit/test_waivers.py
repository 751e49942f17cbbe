"""Waivers: who answers for what, until when; and what is no waiver."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from tests.audit.report import waivers
from tests.audit.report.model import Row
from tests.audit.report.waivers import Waiver, WaiverError, Waivers
from tests.unit.audit.conftest import Audit

DAY = datetime.date(2030, 6, 15)
IDS = {"MADE-BAD", "MADE-GOOD"}
ENTRY = "- {id: MADE-BAD, reason: new cable is ordered, until: 2030-06-15, by: Li}\n"
ROWS = """
import pytest
@pytest.mark.control("MADE-BAD", "network", why="a why", zh="理由")
def test_bad(host):
    assert False, "a port is open"
@pytest.mark.control("MADE-GOOD", "network", why="a why", zh="理由")
def test_good(host):
    host.run("true")
"""


def read(tmp_path: Path, text: str) -> Waivers:
    """A file's waivers on the day."""
    path = tmp_path / "waivers.yml"
    path.write_text(text, encoding="utf-8")
    return waivers.read([path], IDS, DAY)


def row(result: str, host: str = "voice-lan") -> Row:
    """A row that ended."""
    return Row("MADE-BAD", "network", "a check", host, "why", "理由", result, "found")


def test_a_failed_row_is_waived_up_to_and_on_the_last_day(tmp_path: Path) -> None:
    found, bad = read(tmp_path, ENTRY), row("fail")
    found.judge(bad)
    assert bad.result == "waived"
    assert bad.waiver == {
        "id": "MADE-BAD", "host": "*", "reason": "new cable is ordered", "until": "2030-06-15",
        "by": "Li",
    }  # fmt: skip
    assert [one["state"] for one in found.states([bad])] == ["applied"]


def test_the_day_after_it_fails_and_says_so(tmp_path: Path) -> None:
    found = Waivers(read(tmp_path, ENTRY).entries, DAY + datetime.timedelta(days=1))
    bad = row("fail")
    found.judge(bad)
    assert bad.result == "fail"
    assert "its waiver ended on 2030-06-15 (Li: new cable is ordered)" in bad.found
    assert [one["state"] for one in found.states([bad])] == ["expired"]


def test_a_later_waiver_takes_over_from_one_that_ended() -> None:
    old = Waiver("MADE-BAD", "old", DAY - datetime.timedelta(days=1), "Li", "voice-*")
    new = Waiver("MADE-BAD", "new", DAY, "Li")
    bad = row("fail")
    Waivers((old, new), DAY).judge(bad)
    assert bad.waiver is not None
    assert bad.waiver["reason"] == "new"


def test_a_waiver_is_for_its_hosts_only() -> None:
    found = Waivers((Waiver("MADE-BAD", "r", DAY, "Li", "voice-*"),), DAY)
    ours, others = row("fail"), row("fail", "gpu-1")
    found.judge(ours)
    found.judge(others)
    assert (ours.result, others.result) == ("waived", "fail")


def test_one_that_is_no_longer_needed_is_named(tmp_path: Path) -> None:
    found = read(tmp_path, ENTRY)
    assert [one["state"] for one in found.states([row("pass")])] == ["unneeded"]
    assert [one["state"] for one in found.states([])] == ["unused"]
    assert [one["state"] for one in found.states([row("skip")])] == ["unused"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {id: MADE-BAD, until: 2030-01-01, by: Li}", "(MADE-BAD): lacks reason"),
        ("- {id: MADE-BAD, reason: ' ', until: 2030-01-01, by: Li}", "lacks reason"),
        ("- {id: MADE-BAD, reason: r, by: Li}", "lacks until"),
        ("- {id: MADE-BAD, reason: r, until: 2030-01-01}", "lacks by"),
        ("- {reason: r, until: 2030-01-01, by: Li}", "(no id): lacks id"),
        ("- {id: MADE-BAD, reason: r, until: soon, by: Li}", "must be a day such as"),
        ("- {id: MADE-BAD, reason: r, until: 2030-01-01 10:00:00, by: Li}", "must be a day"),
        ("- {id: MADE-UP, reason: r, until: 2030-01-01, by: Li}", "no row of this id"),
        ("- {id: MADE-BAD, reason: r, until: 2030-01-01, by: Li, hosts: x}", "unknown hosts"),
        ("id: MADE-BAD", "must be a list"),
        ("- MADE-BAD", "must have id, reason"),
        ("- {id: [", "is no YAML"),
        (ENTRY + ENTRY, "entry 2: MADE-BAD is waived twice"),
    ],
)
def test_what_is_no_waiver_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(WaiverError) as refused:
        read(tmp_path, text)
    assert said in str(refused.value)
    assert "waivers.yml" in str(refused.value)


def test_files_lie_in_an_inventory_or_beside_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "lan"
    folder.mkdir()
    (folder / "waivers.yml").write_text("[]")
    (folder / "hosts.yml").touch()
    assert waivers.beside([folder, folder / "hosts.yml"]) == [folder.resolve() / "waivers.yml"]
    assert waivers.beside([tmp_path]) == []


@pytest.mark.parametrize(
    ("until", "rc", "result"), [("9999-12-31", 0, "waived"), ("2020-01-01", 1, "fail")]
)
def test_the_audit_ends_as_its_waivers_say(audit: Audit, until: str, rc: int, result: str) -> None:
    text = f"- {{id: MADE-BAD, reason: a reason, until: {until}, by: Li}}\n"
    text += f"- {{id: MADE-GOOD, host: 'h*', reason: a reason, until: {until}, by: Li}}\n"
    ended = audit(ROWS, text)
    assert ended.rc == rc, ended.output
    assert ended.row("MADE-BAD")["result"] == result
    assert "waiver of MADE-GOOD for h*: no longer needed" in ended.output
    states = {one["id"]: one["state"] for one in ended.document["waivers"]}
    assert states == {"MADE-BAD": "expired" if rc else "applied", "MADE-GOOD": "unneeded"}
    junit = ended.text("junit.xml")
    if rc:
        assert "its waiver ended on 2020-01-01" in ended.output
        assert "its waiver ended on 2020-01-01" in ended.text("report.html")
        assert "<failure" in junit
    else:
        assert f"waived until {until} by Li: a reason" in ended.output
        assert "<failure" not in junit
        assert "a port is open" in junit


def test_a_wrong_file_stops_the_audit_before_it_asks_anything(audit: Audit) -> None:
    ended = audit(ROWS, "- {id: NOT-THERE, reason: r, until: 2030-01-01, by: Li}")
    assert ended.rc == 4, ended.output
    assert "no row of this id" in ended.output
    assert not (ended.folder / "report.json").exists()
