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
DONE = {"zh-CN": "完成", "en-US": "Done"}
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
    page.locator("#cosy-prompt input[type=file]").set_input_files(recording)
    page.locator("#consent input").check()
    page.locator("#text textarea").fill(voice.TEXT)
    page.locator("#prompt-text textarea").fill(prompts.TRANSCRIPT)
    # No waiting for the upload: the job begins when it is complete.
    page.locator("#generate").click()
    player = page.locator("#cosy-job")
    expect(player).to_contain_text(DONE[language(page)], timeout=60_000)
    expect(player).to_contain_text(PREVIEW[language(page)])
    expect(page.locator("#cosy-history li")).to_have_count(1)
    for name in ("WAV", "FLAC", "MP3", "Opus"):
        expect(player.get_by_role("link", name=name)).to_be_visible()
    source = urljoin(lan.url, str(player.get_by_role("link", name="WAV").get_attribute("href")))
    heard = page.request.get(source).body()
    assert voice.plausible(voice.seconds(heard), len(voice.TEXT))


def test_text_and_job_outlive_a_reload(page: Page, recording: Path) -> None:
    page.locator("#cosy-prompt input[type=file]").set_input_files(recording)
    page.locator("#consent input").check()
    page.locator("#text textarea").fill(voice.TEXT)
    page.locator("#prompt-text textarea").fill(prompts.TRANSCRIPT)
    page.locator("#generate").click()
    expect(page.locator("#cosy-job")).to_contain_text(DONE[language(page)], timeout=60_000)
    page.reload()
    expect(page.locator("#text textarea")).to_have_value(voice.TEXT, timeout=30_000)
    expect(page.locator("#cosy-job")).to_contain_text(DONE[language(page)], timeout=30_000)


def test_the_language_is_switched_and_remembered(page: Page) -> None:
    other = {"zh-CN": "Text to speak", "en-US": "要朗读的文字"}[language(page)]
    page.locator("#language").click()
    expect(page.locator("#text")).to_contain_text(other, timeout=15_000)
    page.reload()
    expect(page.locator("#text")).to_contain_text(other, timeout=30_000)


def test_an_empty_text_is_refused_in_the_users_language(page: Page) -> None:
    page.locator("#generate").click()
    said = {"zh-CN": "没有要朗读的文字", "en-US": "There is no text to speak"}
    alert = page.locator("#status")
    expect(alert).to_contain_text("text_empty", timeout=15_000)
    expect(alert).to_contain_text(said[language(page)])
