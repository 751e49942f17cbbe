"""The widget in the real studio, against the real web process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from tests.browser import sounds
from tests.browser.conftest import Studio
from tests.browser.test_person import png
from tests.unit.service.conftest import (  # noqa: F401
    config,
    config_path,
    service,
    start,
)

Open = Callable[..., Studio]


@pytest.fixture
def studio_of(browser: Browser, service: httpx.Client) -> Iterator[Open]:  # noqa: F811
    """A function that opens the studio as a new user."""
    contexts = []

    def open_one(locale: str = "en-GB", **options: Any) -> Studio:
        context = browser.new_context(locale=locale, **options)
        contexts.append(context)
        studio = Studio(context.new_page(), str(service.base_url))
        studio.page.goto(studio.url)
        studio.page.wait_for_selector(".cp", timeout=30_000)
        return studio

    yield open_one
    for context in contexts:
        context.close()


def patches(studio: Studio) -> Callable[[], int]:
    """A count of the chunks sent from now on."""
    seen: list[str] = []
    studio.page.on("request", lambda r: seen.append(r.url) if r.method == "PATCH" else None)
    return lambda: len(seen)


def test_a_prompt_reaches_the_service_and_is_known_after_a_reload(studio_of: Open) -> None:
    studio = studio_of()
    sent = patches(studio)
    studio.choose(sounds.wav(15))
    assert studio.reaches("ready", 30).startswith("Ready: 15.0 s, sent")
    chunks = sent()
    assert chunks == 13  # 394 kB of FLAC by 32 KiB
    studio.page.locator(".cp").scroll_into_view_if_needed()
    studio.picture("studio_ready")
    studio.page.reload()
    assert "already has this audio" in studio.reaches("ready", 30)
    assert sent() == chunks
    stranger = studio_of()
    sent = patches(stranger)
    stranger.choose(sounds.wav(15))
    stranger.reaches("ready", 30)
    assert sent() == chunks, "a hash must not be a key to somebody else's voice"


def test_opus_is_a_prompt_for_the_service(studio_of: Open) -> None:
    studio = studio_of()
    studio.choose(sounds.wav(8))
    studio.reaches("ready", 30)
    studio.page.get_by_text("Small (slow connection)").click()
    assert studio.ready_as("Opus").startswith("Ready: 8.0 s, sent 6")


def test_the_service_refuses_a_picture_in_the_users_words(studio_of: Open) -> None:
    studio = studio_of("zh-CN", viewport={"width": 390, "height": 844}, color_scheme="dark")
    studio.choose(png(), "voice.wav")
    assert studio.reaches("failed", 30).startswith("这个文件不是能识别的音频。")
    studio.page.locator(".cp").scroll_into_view_if_needed()
    studio.picture("studio_phone_zh")
