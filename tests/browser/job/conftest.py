"""One fixture for a server of jobs, one for a person with the page before them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PICTURES
from tests.browser.job.server import Server

# Notes each piece of sound that is scheduled, and listens to what reaches the loudspeaker.
EARS = """
window.pieces = [];
window.loudest = () => 0;
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when) {
  const { context, buffer } = this;
  const late = when < context.currentTime;
  window.pieces.push({ when, late, rate: context.sampleRate, data: buffer.getChannelData(0) });
  return start.call(this, when);
};
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...more) {
  if (to instanceof AudioDestinationNode) {
    const ear = to.context.createAnalyser();
    const wave = new Float32Array(ear.fftSize);
    connect.call(this, ear);
    window.loudest = () => {
      if (to.context.state !== 'running') return 0;
      ear.getFloatTimeDomainData(wave);
      return Math.max(...wave.map(Math.abs));
    };
  }
  return connect.call(this, to, ...more);
};
"""


class Person:
    """Somebody with the page open."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.errors: list[str] = []
        self.addresses: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.addresses.append(request.url))
        page.add_init_script(EARS)
        page.goto(url)
        self.view = page.locator("#job .cosy")
        self.line = page.locator(".cosy-line")
        self.slider = page.locator(".cosy-wave input")

    def generate(self, job_id: str = "0123456789abcdef") -> None:
        """Press the button; the job begins to be followed, and its sound may play."""
        self.page.evaluate("id => { window.next = id }", job_id)
        self.page.click("#generate")

    def sees(self, text: str, timeout_s: float = 10) -> None:
        """The widget says that."""
        expect(self.view).to_contain_text(text, timeout=timeout_s * 1000)

    def hears(self) -> None:
        """Sound comes out."""
        self.until("window.loudest() > 0.01")

    def until(self, expression: str, timeout_s: float = 10) -> None:
        """Wait for that; Playwright's own way evals in the page, which its policy forbids."""
        end = time.monotonic() + timeout_s
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, expression
            self.page.wait_for_timeout(30)

    def position_s(self) -> float:
        """Where the player stands."""
        return float(self.slider.evaluate("node => node.valueAsNumber"))

    def pieces(self) -> list[dict[str, Any]]:
        """The sound that was scheduled: when, and the samples as integers."""
        script = """() => window.pieces.map(({ when, late, rate, data }) => (
            { when, late, rate, data: Array.from(data, (x) => Math.round(x * 32768)) }))"""
        pieces: list[dict[str, Any]] = self.page.evaluate(script)
        return pieces

    def picture(self, name: str) -> None:
        """Keep a picture as a test artefact."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"job-{name}.png", full_page=True)


@pytest.fixture
def server() -> Iterator[Server]:
    """The server; a test adds jobs and moves them on."""
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Callable[..., Person]]:
    """A function that opens the page: `visit(language, **browser context)`."""
    contexts = []
    people: list[Person] = []

    def open_one(language: str = "en", **options: Any) -> Person:
        context = browser.new_context(**{"viewport": {"width": 720, "height": 900}, **options})
        contexts.append(context)
        people.append(Person(context.new_page(), f"{server.url}/{language}"))
        return people[-1]

    yield open_one
    for context in contexts:
        context.close()
    for person in people:
        assert person.errors == []
        assert all(address.startswith(server.url) for address in person.addresses)
