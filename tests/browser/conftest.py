"""One fixture for the server with its line, one for a page with the widget on it."""

from __future__ import annotations

import os
import runpy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, FilePayload, Page, expect, sync_playwright

from tests.browser import sounds
from tests.browser.server import STATIC, Server, Uploads, static_file

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "build/browser"
INSECURE_HOST = "studio.test"
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    # A name is no secure origin, unlike 127.0.0.1.
    f"--host-resolver-rules=MAP {INSECURE_HOST} 127.0.0.1",
]
NEEDS_BROWSER = "chromium is needed for the browser tests: apt install chromium"


@pytest.fixture(scope="session")
def vendored() -> None:
    """libflac in the source tree, and our own bundled: before a browser waits for it."""
    if not (STATIC / "vendor/libflac.min.wasm.wasm").exists():
        runpy.run_path(str(ROOT / "service/hatch_build.py"), run_name="__main__")
    static_file("prompt.js")


@pytest.fixture(scope="session")
def browser(vendored: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium with a microphone that hears a voice."""
    executable = shutil.which("chromium")
    assert executable, NEEDS_BROWSER
    heard = tmp_path_factory.mktemp("mic") / "voice.wav"
    heard.write_bytes(sounds.wav(20))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=[*ARGS, f"--use-file-for-fake-audio-capture={heard}"],
            env={**os.environ, "HOME": str(heard.parent)},
        )
        yield browser
        browser.close()


@pytest.fixture
def server() -> Iterator[Server]:
    """The server; its `uploads` says what reached it, `uploads.line` is the line."""
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def uploads(server: Server) -> Uploads:
    """What the server got."""
    return server.uploads


class Studio:
    """A person in front of the widget."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.addresses.append(request.url))
        self.addresses: list[str] = []

    def open(self, language: str = "en") -> Studio:
        """The page, ready for use."""
        self.page.goto(f"{self.url}/{language}")
        self.page.wait_for_selector(".cp")
        return self

    def choose(self, data: bytes, name: str = "voice.wav", kind: str = "audio/wav") -> None:
        """Pick a file."""
        payload = FilePayload(name=name, mimeType=kind, buffer=data)
        self.page.set_input_files(".cp input[type=file]", payload)

    def reaches(self, state: str, timeout_s: float = 15) -> str:
        """Wait for the state; its sentence."""
        expect(self.page.locator(f".cp[data-state={state}]")).to_be_visible(
            timeout=timeout_s * 1000
        )
        return self.said()

    def ready_as(self, kind: str) -> str:
        """Wait until it is ready in that format ("FLAC", "Opus"); its sentence."""
        expect(self.page.locator(".cp-format")).to_contain_text(kind)
        return self.reaches("ready", 30)

    def said(self) -> str:
        """The sentence of the widget."""
        return self.page.inner_text(".cp [role=status]")

    def text(self) -> str:
        """All that can be read."""
        return self.page.inner_text(".cp")

    def told(self) -> list[dict[str, Any]]:
        """What the page was told."""
        told: list[dict[str, Any]] = self.page.evaluate("window.told")
        return told

    def sha(self) -> str:
        """The hash of what was sent last."""
        return str(self.told()[-1]["sha256"])

    def picture(self, name: str) -> None:
        """Keep a picture as a test artefact."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png")


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Callable[..., Studio]]:
    """A function that opens a studio: `visit(language, host=..., **browser context)`."""
    contexts = []
    studios: list[Studio] = []

    def open_one(language: str = "en", host: str = "127.0.0.1", **options: Any) -> Studio:
        context = browser.new_context(
            locale={"zh": "zh-CN", "en": "en-GB"}[language], **{"viewport": None, **options}
        )
        contexts.append(context)
        port = server.server_address[1]
        studio = Studio(context.new_page(), f"http://{host}:{port}").open(language)
        studios.append(studio)
        return studio

    yield open_one
    for studio in studios:
        assert not studio.errors
        hosts = {address.split("/")[2] for address in studio.addresses if "//" in address}
        assert len(hosts) <= 1, f"outside hosts: {hosts}"
    for context in contexts:
        try:
            context.close()
        except Error:
            continue
