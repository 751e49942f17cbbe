"""The audit's report in a browser: it asks for nothing, can be read, and prints its evidence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.audit.report import render
from tests.audit.report.model import CONTROLS, RESULTS

CONTRAST = """() => {
  const linear = (part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const light = (colour) => {
    const [r, g, b] = colour.match(/[0-9.]+/g).map((part) => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
  };
  const found = {};
  for (const node of document.querySelectorAll("body *")) {
    if (![...node.childNodes].some((one) => one.nodeType === 3 && one.data.trim())) continue;
    const pair = [light(getComputedStyle(node).color), light(ground(node))].sort((a, b) => b - a);
    found[`${node.tagName} ${node.className}`] = (pair[0] + 0.05) / (pair[1] + 0.05);
  }
  return found;
}"""


def document() -> dict[str, Any]:
    """A report with a row of each result."""
    waiver = {"id": "ROW-3", "host": "*", "reason": "a reason", "until": "2030-01-01", "by": "Li"}
    evidence = {"command": "echo it", "rc": 0, "stdout": "the evidence", "stderr": "", "times": 1}
    rows = [
        {
            "id": f"ROW-{number}", "control": "network", "check": "a check", "host": "voice",
            "why": {"en": "a why", "zh": "理由"}, "result": result, "seconds": 0.1,
            "found": "" if result == "pass" else "what was found", "evidence": [evidence],
            "waiver": waiver if result == "waived" else None,
        }
        for number, result in enumerate(RESULTS)
    ]  # fmt: skip
    return {
        "format": 1, "ok": False, "tiers": ["lan"], "inventories": ["inventories/lan"],
        "began": "2030-01-01T00:00:00+00:00", "seconds": 7.5, "tools": {"pytest": "9"},
        "hosts": [{"name": "voice", "system": "Debian 13"}],
        "summary": dict.fromkeys(RESULTS, 1), "rows": rows, "not_run": ["ROW-9"],
        "controls": [{"id": id, "en": e, "zh": z, "rows": []} for id, (e, z) in CONTROLS.items()],
        "waivers": [waiver | {"state": "applied"}],
    }  # fmt: skip


@pytest.fixture(name="page")
def _page(browser: Browser, tmp_path: Path) -> Any:
    path = tmp_path / "report.html"
    path.write_text(render.as_html(document()), encoding="utf-8")
    page = browser.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(path.as_uri())
    yield page
    page.close()
    assert asked == [path.as_uri()]
    assert said == []


def test_evidence_is_folded_on_the_screen_and_open_on_paper(page: Page) -> None:
    evidence = page.get_by_text("the evidence").first
    assert not evidence.is_visible()
    page.locator("summary").first.click()
    assert evidence.is_visible()
    page.emulate_media(media="print")
    boxes = [one.bounding_box() for one in page.get_by_text("the evidence").all()]
    assert len(boxes) == len(RESULTS)
    assert all(box and box["height"] > 5 for box in boxes), boxes


def test_text_stands_out_from_its_ground(page: Page) -> None:
    """WCAG AA: 4.5 to 1."""
    found = page.evaluate(CONTRAST)
    assert len(found) > 15
    assert {name: ratio for name, ratio in found.items() if ratio < 4.5} == {}


def test_results_are_told_in_words_and_tables_have_heads(page: Page) -> None:
    for _, english, chinese in render.WORDS.values():
        assert page.locator("tbody .verdict", has_text=f"{english} {chinese}").count() >= 1
    for table in page.locator("table").all():
        assert table.locator("th[scope]").count() > 0
    levels = [
        int(each.evaluate("node => node.tagName[1]")) for each in page.locator("h1, h2").all()
    ]
    assert levels[0] == 1
    assert set(levels[1:]) == {2}


def test_it_fits_on_a4(page: Page) -> None:
    page.set_viewport_size({"width": 703, "height": 1000})  # 186 mm between the margins
    page.emulate_media(media="print")
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 703
    pdf = page.pdf(prefer_css_page_size=True)
    sizes = set(re.findall(rb"/MediaBox \[([^\]]+)\]", pdf))
    assert {tuple(round(float(each)) for each in size.split()) for size in sizes} == {
        (0, 0, 595, 842)
    }
