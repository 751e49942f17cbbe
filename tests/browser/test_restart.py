"""The restart button in the real studio, against the real web process and worker."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Dialog, Page, expect

from cosyhost.config import Config
from tests.unit.service.conftest import (  # noqa: F401
    Start,
    config,
    config_path,
    eventually,
    start,
)


@pytest.fixture
def worker_and_page(
    browser: Browser,
    config: Config,  # noqa: F811
    start: Start,  # noqa: F811
) -> Iterator[tuple[subprocess.Popen[bytes], Page]]:
    """A worker of this test's own, and the studio in English."""
    start("web")
    worker = start("worker")
    base = f"http://{config.web.listen}:{config.web.port}"

    def ready() -> bool:
        try:
            return httpx.get(f"{base}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    eventually(ready, "the service")
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.goto(base)
    page.wait_for_selector(".cosy-restart", timeout=60_000)
    yield worker, page
    context.close()


def test_it_asks_first_and_then_tells_how_it_goes(
    worker_and_page: tuple[subprocess.Popen[bytes], Page],
    config_path: Path,  # noqa: F811
    start: Start,  # noqa: F811
) -> None:
    worker, page = worker_and_page
    asked = config_path.parent / "restart"
    line = page.locator(".cosy-restart [role=status]")
    button = page.get_by_role("button", name="Restart the model")
    expect(line).to_have_text("Ready: 2 at work", timeout=30_000)

    questions: list[str] = []

    def answer(dialog: Dialog) -> None:
        questions.append(dialog.message)
        if len(questions) == 1:
            dialog.dismiss()
        else:
            dialog.accept()

    page.on("dialog", answer)
    button.click()
    assert not asked.exists()
    assert questions[0].startswith("Restart now?")
    button.click()
    expect(line).to_have_text("Restart asked for…", timeout=30_000)
    expect(button).to_be_disabled()
    assert asked.exists()

    # What systemd does on a real host (tests/e2e/test_restart.py).
    worker.send_signal(signal.SIGTERM)
    expect(line).to_contain_text("Stopping", timeout=30_000)
    worker.wait(30)
    start("worker")
    expect(line).to_have_text("Ready: 2 at work", timeout=60_000)
    expect(button).to_be_enabled()
