"""The rows of the audit: whole, told apart, and as docs/audit.md lists them."""

from __future__ import annotations

import re

from tests.audit.report import catalogue
from tests.audit.report.model import CONTROLS
from tests.audit.report.render import WORDS


def test_every_row_has_an_id_of_its_own() -> None:
    ids = [entry.id for entry in catalogue.entries()]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[A-Z0-9]+(-[A-Z0-9]+)+", id) for id in ids)


def test_every_control_has_rows_and_every_reason_is_in_both_languages() -> None:
    entries = catalogue.entries()
    assert {entry.control for entry in entries} == set(CONTROLS)
    for entry in entries:
        assert re.search("[一-龥]", entry.zh), entry.id
        assert not re.search("[一-龥]", entry.why), entry.id


def test_the_page_lists_the_rows_there_are() -> None:
    """Else: PYTHONPATH=service .venv/bin/python -m tests.audit.report.catalogue --write"""
    text = catalogue.PAGE.read_text(encoding="utf-8")
    assert text == catalogue.page(text)


def test_the_page_lists_the_controls_and_results() -> None:
    text = catalogue.PAGE.read_text(encoding="utf-8")
    for name in (*CONTROLS, *WORDS):
        assert f"`{name}`" in text
