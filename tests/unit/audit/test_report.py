"""The report of an audit: what it holds, what it must not hold, and how the audit ends."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from base64 import b64encode
from urllib.parse import quote

import pytest

from tests.audit.expected import REPOSITORY
from tests.unit.audit.conftest import CANARY, Audit, Ended

ROWS = """
import pytest
pytestmark = pytest.mark.group("all")

@pytest.fixture(scope="session")
def asked(host):
    return host.check_output("echo asked once")

@pytest.mark.control("MADE-GOOD", "network", why="a why", zh="理由")
def test_good(host, asked):
    assert host.check_output("echo '<script>alert(1)</script>'")

@pytest.mark.control("MADE-SHARED", "network", why="a why", zh="理由")
def test_shared(asked):
    assert asked

@pytest.mark.control("MADE-BAD", "access", why="a why", zh="理由")
def test_bad(host, values):
    password = values["redis_password"]
    print("said:", password)
    host.run("echo %s", password)
    host.run("printf %%s %s | base64", password)
    host.run("python3 -c %s %s", "import json,sys; print(json.dumps(sys.argv))", password)
    host.run("python3 -c %s %s", "import sys, urllib.parse as u; print(u.quote(sys.argv[1]))",
             password)
    host.run("echo %s >&2; false", password)
    assert password == "another", f"it is {password}"

@pytest.mark.control("MADE-BROKEN", "limits", why="a why", zh="理由")
def test_broken(values):
    raise RuntimeError(values["redis_password"])

@pytest.mark.control("MADE-UNSAID", "limits", why="a why", zh="理由")
def test_unsaid(values):
    assert values["redis_password"] == "another"

@pytest.mark.control("MADE-SKIPPED", "storage", why="a why", zh="理由")
def test_skipped(values):
    pytest.skip(values["redis_password"])

@pytest.mark.control("MADE-AGAIN", "service", why="a why", zh="理由")
def test_again(host):
    for _ in range(3):
        host.run("echo wait")

@pytest.mark.control("MADE-LONG", "service", why="a why", zh="理由")
def test_long(host, values):
    # The secret lies across the place where what is shown ends.
    host.run("printf 'x%%.0s' $(seq 1990); echo %s", values["redis_password"])

@pytest.mark.group("nobody")
@pytest.mark.control("MADE-NOWHERE", "versions", why="a why", zh="理由")
def test_nowhere(host):
    raise AssertionError
"""
FILES = ("report.html", "report.json", "junit.xml")


@pytest.fixture(scope="module")
def ended(audit: Audit) -> Ended:
    """One audit of them all."""
    return audit(ROWS)


def test_every_row_has_its_result(ended: Ended) -> None:
    found = {row["id"]: row["result"] for row in ended.document["rows"]}
    assert found == {
        "MADE-GOOD": "pass", "MADE-SHARED": "pass", "MADE-BAD": "fail", "MADE-BROKEN": "error",
        "MADE-UNSAID": "fail", "MADE-SKIPPED": "skip", "MADE-AGAIN": "pass", "MADE-LONG": "pass",
        "MADE-NOWHERE": "skip",
    }, ended.output  # fmt: skip
    assert ended.document["summary"] == {"pass": 4, "fail": 2, "error": 1, "waived": 0, "skip": 2}
    assert ended.document["ok"] is False
    assert ended.document["tiers"] == ["made"]
    assert ended.document["not_run"] == []
    assert ended.rc == 1


def test_a_row_has_what_its_check_and_its_fixtures_asked(ended: Ended) -> None:
    good = [(one["command"], one["stdout"]) for one in ended.row("MADE-GOOD")["evidence"]]
    assert good == [
        ("echo asked once", "asked once"),
        ("echo '<script>alert(1)</script>'", "<script>alert(1)</script>"),
    ]
    shared = [one["command"] for one in ended.row("MADE-SHARED")["evidence"]]
    assert shared == ["echo asked once"]
    again = [(one["command"], one["times"]) for one in ended.row("MADE-AGAIN")["evidence"]]
    assert again == [("echo wait", 3)]
    assert ended.row("MADE-BAD")["evidence"][-1]["rc"] == 1


def test_no_secret_is_in_any_file_or_on_the_terminal(ended: Ended) -> None:
    forms = {
        CANARY, quote(CANARY), quote(CANARY, safe=""), b64encode(CANARY.encode()).decode(),
        json.dumps(CANARY)[1:-1], CANARY.replace("'", "&#39;"), CANARY.replace("'", "&#x27;"),
        CANARY[:9],  # nor the half of one that was cut
    }  # fmt: skip
    for name, text in {"the terminal": ended.output, **{n: ended.text(n) for n in FILES}}.items():
        assert [form for form in forms if form in text] == [], name
        assert "[redacted]" in text, name
    assert ended.row("MADE-BAD")["found"] == "it is [redacted]"
    assert ended.row("MADE-SKIPPED")["found"] == "[redacted]"
    said = [one["stdout"] + one["stderr"] for one in ended.row("MADE-BAD")["evidence"]]
    assert len(said) == 5
    assert all("[redacted]" in each for each in said), said


def test_the_page_escapes_what_a_host_said(ended: Ended) -> None:
    page = ended.text("report.html")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page


def test_the_page_needs_nothing_from_elsewhere(ended: Ended) -> None:
    page = ended.text("report.html")
    for way in ("src=", "url(", "@import", "<link", 'http-equiv="refresh"'):
        assert way not in page
    assert "default-src 'none'" in page


def test_the_json_is_what_its_schema_says(ended: Ended) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((REPOSITORY / "tests/audit/report/schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(ended.document)


def test_the_junit_file_has_ids_controls_and_hosts(ended: Ended) -> None:
    suite = ET.fromstring(ended.text("junit.xml"))
    cases = {}
    for case in suite.iter("testcase"):
        of = {one.attrib["name"]: one.attrib["value"] for one in case.iter("property")}
        cases[of["id"]] = (of["control"], of["hosts"], [child.tag for child in case][1:])
    assert cases["MADE-GOOD"] == ("network", "here", [])
    assert cases["MADE-BAD"][:2] == ("access", "here")
    assert "failure" in cases["MADE-BAD"][2]
    assert cases["MADE-SKIPPED"][2] == ["skipped"]


def test_an_audit_of_a_part_says_what_it_left_out(audit: Audit) -> None:
    ended = audit(ROWS, "", "-k", "good or shared")
    assert ended.rc == 0, ended.output
    assert "MADE-BAD" in ended.document["not_run"]
    assert "This is a part of the audit only" in ended.text("report.html")


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ('control("MADE-NEW", why="a why", zh="理由")', "one of network"),
        ('control("MADE-NEW", "nonsense", why="a why", zh="理由")', "one of network"),
        ('control("MADE-NEW", "network", why="a why")', "lacks zh"),
    ],
)
def test_a_row_without_its_words_is_refused(audit: Audit, marker: str, said: str) -> None:
    rows = f"import pytest\n@pytest.mark.{marker}\ndef test_new(host):\n    pass\n"
    ended = audit(rows)
    assert ended.rc == 4, ended.output
    assert said in ended.output
    assert not (ended.folder / "report.html").exists()
