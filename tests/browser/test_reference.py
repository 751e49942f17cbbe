"""The API's page in a browser: it shows the operations, and asks no other host."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Browser, expect

from tests.unit.service.conftest import (  # noqa: F401
    config,
    config_path,
    service,
    start,
)


def test_the_reference_is_readable_and_asks_no_other_host(
    browser: Browser,
    service: httpx.Client,  # noqa: F811
) -> None:
    context = browser.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{service.base_url}/docs")
    speak = page.get_by_text("Speak a text · 合成语音")
    expect(speak).to_be_visible(timeout=30_000)
    speak.click()
    expect(
        page.get_by_text("curl -sS --fail-with-body $COSYHOST/v1/audio/speech").first
    ).to_be_visible()
    expect(page.get_by_text("queue_full").first).to_be_visible()
    hosts = {urlsplit(url).netloc for url in asked if not url.startswith("data:")}
    assert hosts == {urlsplit(str(service.base_url)).netloc}
    context.close()
