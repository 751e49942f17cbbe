"""The network page in the real studio, against the real service."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from cosyhost import netcheck, wire
from cosyhost.netcheck import Checked, Rate, Terms
from tests.browser.test_studio import PHONE, Open, visit  # noqa: F401
from tests.unit.service.conftest import (  # noqa: F401
    config,
    config_path,
    service,
    start,
)

CHECKS = re.compile(r"/v1/netcheck")


def opened(page: Page, summary: str = "Network") -> None:
    """Unfold it."""
    page.locator("#network summary").get_by_text(summary).click()
    expect(page.locator("#network button")).to_be_visible()


def figures(page: Page) -> list[str]:
    """Latency, jitter, download, upload as they are shown."""
    return page.locator("#network dd").all_inner_texts()


def test_nothing_of_it_is_loaded_before_it_is_opened(visit: Open) -> None:  # noqa: F811
    visitor = visit()
    asked: list[str] = []
    visitor.page.on("request", lambda request: asked.append(request.url))
    visitor.reload()
    assert not any("network.js" in url or "netcheck" in url for url in asked)
    opened(visitor.page)
    assert any("network.js" in url for url in asked)
    assert not any("/v1/netcheck" in url for url in asked), "only a press measures"


def test_it_measures_and_says_what_the_command_says(visit: Open) -> None:  # noqa: F811
    visitor = visit()
    page = visitor.page
    opened(page)
    page.get_by_role("button", name="Check my connection").click()
    network = page.locator(".cosy-network")
    expect(network).to_have_attribute("data-state", "done", timeout=40_000)
    shown = page.locator(".cosy-figures").evaluate("node => ({ ...node.dataset })")
    down, up = float(shown["down"]), float(shown["up"])
    latency_s, jitter_s = (float(text.split()[0]) / 1000 for text in figures(page)[:2])
    assert 0 < latency_s < 1
    assert down > 0 < up
    sizes = {way: wire.CODECS[way].weighs(15) for way in wire.PROMPT_WAYS}
    terms = Terms("", "test", 50, 40, 1, 1, 15, sizes)
    same = Checked(
        "", terms, latency_s, jitter_s,
        Rate(round(down * 125_000), 1.0), Rate(round(up * 125_000), 1.0),
    )  # fmt: skip
    assert figures(page)[2:] == [f"{netcheck.rate(mbit)} Mbit/s" for mbit in (down, up)]
    for sentence in netcheck.sentences(same, "en")[1:]:
        expect(network).to_contain_text(sentence)
    page.locator("#language").click()
    for sentence in netcheck.sentences(same, "zh")[1:]:
        expect(network).to_contain_text(sentence)
    expect(page.get_by_role("button", name="再检查一次")).to_be_visible()
    visitor.picture("network")


def test_by_keys_and_heard_by_a_screen_reader(visit: Open) -> None:  # noqa: F811
    visitor = visit("zh-CN")
    page = visitor.page
    summary = page.locator("#network summary")
    summary.focus()
    page.keyboard.press("Enter")
    button = page.get_by_role("button", name="检查我的网络")
    expect(button).to_be_visible()
    page.keyboard.press("Tab")
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    live = page.locator("#network [aria-live=polite]")
    expect(live).to_contain_text("15 秒的提示音频", timeout=40_000)
    expect(page.locator("#network button")).to_be_focused()
    page.keyboard.press("Enter")
    expect(live).to_contain_text("正在测量")
    expect(live).to_contain_text("15 秒的提示音频", timeout=40_000)


def test_a_phone_has_room_for_it(visit: Open) -> None:  # noqa: F811
    visitor = visit("zh-CN", **PHONE)
    page = visitor.page
    opened(page, "网络")
    page.get_by_role("button", name="检查我的网络").tap()
    expect(page.locator(".cosy-network")).to_have_attribute("data-state", "done", timeout=40_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for at in ("#network summary", "#network button"):
        box = page.locator(at).bounding_box()
        assert box
        assert box["height"] >= 44
    page.locator("#network").scroll_into_view_if_needed()
    visitor.picture("network_phone")


@pytest.mark.parametrize(
    ("status", "problem", "words"),
    [
        (429, {"code": "too_many_requests", "detail": "Too many."}, "Wait a minute"),
        (
            503,
            {"code": "service_starting", "detail": "The service is starting.", "hint": "Wait."},
            "The service is starting. Wait.",
        ),
        (0, {}, "The connection broke off during the check."),
    ],
)
def test_a_failure_is_said_and_can_be_tried_again(
    visit: Open,  # noqa: F811
    status: int,
    problem: dict[str, str],
    words: str,
) -> None:
    page = visit().page

    def fail(route: Route) -> None:
        if "/upload" not in route.request.url:
            route.continue_()
        elif status:
            route.fulfill(status=status, json=problem)
        else:
            route.abort()

    page.route(CHECKS, fail)
    opened(page)
    page.get_by_role("button", name="Check my connection").click()
    network = page.locator(".cosy-network")
    expect(network).to_have_attribute("data-state", "failed", timeout=40_000)
    expect(page.locator("#network [aria-live=polite]")).to_contain_text(words)
    expect(page.locator("#network dl")).to_be_hidden()
    page.unroute(CHECKS)
    page.get_by_role("button", name="Check again").click()
    expect(network).to_have_attribute("data-state", "done", timeout=40_000)


def test_a_part_that_cannot_be_loaded_is_said(visit: Open) -> None:  # noqa: F811
    page = visit().page
    page.route("**/network*.js", lambda route: route.abort())
    page.locator("#network summary").click()
    expect(page.locator("#network [role=alert]")).to_contain_text("could not be loaded")
    page.unroute("**/network*.js")
    page.locator("#network summary").click()
    opened(page)
