"""A person at the page: uploads a recording, writes a text, clicks, and hears."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests import prompts
from tests.e2e import voice
from tests.e2e.tier import BUILD, Tier

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
LANGUAGES = ("zh-CN", "en-US")
PREVIEW = {"zh-CN": re.compile("预览引擎"), "en-US": re.compile("preview engine", re.I)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium, the system's own."""
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("there is no chromium: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(params=LANGUAGES)
def page(request: pytest.FixtureRequest, browser: Browser, lan: Tier) -> Iterator[Page]:
    """The studio in one language; no request may leave for another host, no script may fail."""
    context = browser.new_context(locale=request.param)
    page = context.new_page()
    elsewhere: list[str] = []
    errors: list[str] = []
    own = urlsplit(lan.url).netloc

    def note(url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != own:
            elsewhere.append(url)

    page.on("request", lambda sent: note(sent.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(lan.url)
    yield page
    page.screenshot(path=BUILD / f"{request.node.originalname}.{request.param}.png", full_page=True)
    context.close()
    assert elsewhere == []
    assert errors == []


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory, prompt: bytes) -> Path:
    """The prompt as a file on the user's disk."""
    path = tmp_path_factory.mktemp("user") / "prompt.wav"
    path.write_bytes(prompt)
    return path


def language(page: Page) -> str:
    """The language that the page's user reads."""
    return str(page.evaluate("navigator.language"))


def test_an_uploaded_prompt_and_a_text_are_heard(page: Page, lan: Tier, recording: Path) -> None:
    expect(page.locator("#preview")).to_contain_text(PREVIEW[language(page)])
    page.locator("#prompt-audio input[type=file]").set_input_files(recording)
    expect(page.locator("#prompt-audio audio, #prompt-audio #waveform").first).to_be_attached()
    page.wait_for_timeout(1500)  # the waveform is drawn, then the component takes the file over
    page.locator("#text textarea").fill(voice.TEXT)
    page.locator("#prompt-text textarea").fill(prompts.TRANSCRIPT)
    page.locator("#generate").click()
    player = page.locator("#player audio")
    expect(player).to_be_visible(timeout=60_000)
    expect(page.locator("#player")).to_contain_text(PREVIEW[language(page)])
    source = urljoin(lan.url, str(player.get_attribute("src")))
    heard = page.request.get(source).body()
    assert voice.plausible(voice.seconds(heard), len(voice.TEXT))
    # The browser itself can play it.
    assert page.evaluate(
        "new Promise(done => { const player = document.querySelector('#player audio');"
        "if (player.readyState) return done(player.duration);"
        "player.onloadedmetadata = () => done(player.duration);"
        "player.onerror = () => done(-1); player.load() })"
    ) == pytest.approx(voice.seconds(heard), abs=0.2)


def test_an_empty_text_is_refused_in_the_users_language(page: Page) -> None:
    page.locator("#generate").click()
    said = {"zh-CN": "没有要朗读的文字", "en-US": "There is no text to speak"}
    toast = page.locator(".toast-wrap")
    expect(toast).to_contain_text("text_empty", timeout=15_000)
    expect(toast).to_contain_text(said[language(page)])
