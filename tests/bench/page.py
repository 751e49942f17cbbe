"""What the page weighs on the wire: first and second load in Chromium, through nginx.

It uses the host of `make demo`. Stock Gradio's own weight is measured in the same run, beside it.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, CDPSession, Page, sync_playwright

from tests import demo

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# A stock page with what ours offers: text in, audio in, audio out.
STOCK = """
import gradio, sys
with gradio.Blocks() as page:
    gradio.Textbox(); gradio.Audio(); gradio.Audio(); gradio.Slider(); gradio.Button()
page.launch(server_port=int(sys.argv[1]), quiet=True, inbrowser=False)
"""


class Load:
    """Counts what one load of a page brings."""

    def __init__(self, page: Page, session: CDPSession, host: str) -> None:
        self.bytes, self.requests = 0, 0
        self.outside: set[str] = set()
        self._host, self._page = host, page
        session.on("Network.loadingFinished", self._finished)
        session.on("Network.responseReceived", self._received)
        session.send("Network.enable")

    def _received(self, event: dict[str, dict[str, str]]) -> None:
        response = event["response"]
        name = urlsplit(response["url"]).netloc
        if name and name != self._host:
            self.outside.add(name)
        if not response.get("fromDiskCache") and urlsplit(response["url"]).scheme != "data":
            self.requests += 1

    def _finished(self, event: dict[str, float]) -> None:
        # A stream that stays open never finishes, and weighs nothing.
        self.bytes += int(event["encodedDataLength"])


def load(context: BrowserContext, url: str) -> Load:
    """Open the page and let it settle."""
    page = context.new_page()
    counted = Load(page, context.new_cdp_session(page), urlsplit(url).netloc)
    page.goto(url)
    page.wait_for_selector("button")
    page.wait_for_timeout(4000)
    page.close()
    return counted


@contextmanager
def stock_gradio() -> Iterator[str]:
    """Gradio as it comes, on this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen([sys.executable, "-c", STOCK, str(port)]) as process:
        try:
            for _ in range(200):
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()


def main() -> None:
    """Measure; one JSON line last."""
    url = f"http://{demo.up().ip}/"
    with sync_playwright() as playwright, stock_gradio() as stock_url:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(FLAGS)
        )
        ours = browser.new_context()
        first, second = load(ours, url), load(ours, url)
        stock = load(browser.new_context(), stock_url)
        browser.close()
    figures = {
        "first_load_kb": round(first.bytes / 1000, 1),
        "first_load_requests": first.requests,
        "second_load_kb": round(second.bytes / 1000, 1),
        "outside_hosts": len(first.outside | second.outside),
        "stock_gradio_kb": round(stock.bytes / 1000, 1),
        "stock_gradio_requests": stock.requests,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
