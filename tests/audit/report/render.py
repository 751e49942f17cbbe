"""The report for people (one HTML file that asks for nothing else) and for programs (JSON)."""

from __future__ import annotations

import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tests.audit.report.model import BAD, CONTROLS, Document

HERE = Path(__file__).parent
# Sign and words: a result is never told by its colour alone.
WORDS = {
    "pass": ("✓", "pass", "通过"),
    "fail": ("✗", "fail", "未通过"),
    "error": ("!", "not checked", "无法检查"),
    "waived": ("~", "waived", "已豁免"),
    "skip": ("–", "does not apply", "不适用"),
}
STATES = {
    "applied": ("applied", "生效"),
    "expired": ("expired", "已到期"),
    "unneeded": ("no longer needed: the row passes", "不再需要：该项已通过"),
    "unused": ("not asked for in this run", "本次未检查"),
}


def as_json(document: Document) -> str:
    """Readable, in the order of the schema."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def as_html(document: Document) -> str:
    """By jinja2, which escapes whatever came from a host."""
    environment = Environment(
        autoescape=True, loader=FileSystemLoader(HERE), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template("report.html.j2")
    return page.render(report=document, controls=CONTROLS, words=WORDS, states=STATES, bad=BAD)
