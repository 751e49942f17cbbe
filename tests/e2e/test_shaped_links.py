"""A person behind a thin line: an upload that says how it stands, whatever happens to it.

Pictures of what the person sees are kept in build/pictures/.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import numpy as np
import pytest
from playwright.sync_api import Page, Playwright, Request, expect, sync_playwright

from tests import chromium, prompts
from tests.e2e import voice
from tests.e2e.tier import ROOT, Tier
from tests.testbed import Testbed, WanClient

PICTURES = ROOT / "build/pictures"
RECORDING_S = 30
CHUNK_BYTES, LANES = 32_768, 4


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """What drives the browsers."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute of speech as a phone records it: 48 kHz, stereo, 5.8 MB."""
    data, rate = prompts.samples()
    times = np.arange(RECORDING_S * 48_000) * rate / 48_000 % len(data)
    mono = np.interp(times, np.arange(len(data)), data)
    path = tmp_path_factory.mktemp("user") / "my voice.wav"
    path.write_bytes(prompts.wav(np.stack([mono, mono * 0.9], axis=1).astype(np.float32), 48_000))
    return path


class Person:
    """Somebody at the studio's page."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.widget = page.locator("#cosy-prompt")
        self.sentence = self.widget.get_by_role("status")
        self.bar = self.widget.get_by_role("progressbar")
        self.job = page.locator("#cosy-job")
        self.size = self.sent = 0  # bytes of the audio, and those that left, repeated ones included
        page.on("request", self._count)

    def _count(self, request: Request) -> None:
        if request.method == "PATCH":
            self.size = int(request.headers["upload-length"])
            self.sent += min(CHUNK_BYTES, self.size - int(request.headers["upload-offset"]))

    def arrives(self) -> None:
        """The page is there and can be used."""
        self.page.goto(self.url, timeout=60_000)
        self.widget.locator("input[type=file]").wait_for(state="attached", timeout=60_000)

    def chooses(self, file: Path) -> None:
        """A file is picked: the hand first comes to the button."""
        self.widget.get_by_role("button").first.hover()
        self.page.wait_for_timeout(1500)
        self.widget.locator("input[type=file]").set_input_files(file)
        self.page.locator("#consent input").check()

    def writes(self) -> None:
        """What is to be said, and what the recording says."""
        self.page.locator("#text textarea").fill(voice.TEXT)
        self.page.locator("#prompt-text textarea").fill(prompts.TRANSCRIPT)

    def sees(self, percent: int) -> None:
        """The bar has come so far."""
        self.page.wait_for_function(
            "([bar, percent]) => Number(bar.ariaValueNow) >= percent",
            arg=[self.bar.element_handle(), percent],
            timeout=60_000,
        )

    def picture(self, name: str) -> None:
        """Keep what is on the screen."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.widget.scroll_into_view_if_needed()
        self.page.screenshot(path=PICTURES / f"{name}.png")

    def hears(self, done: str) -> None:
        """The job ends in a voice that says the text."""
        expect(self.job).to_contain_text(done, timeout=60_000)
        link = self.job.get_by_role("link", name="WAV").get_attribute("href")
        heard = self.page.request.get(urljoin(self.url, str(link))).body()
        assert voice.plausible(voice.seconds(heard), len(voice.TEXT))


def on_hotspot(
    playwright: Playwright, bed: Testbed, lan: Tier, locale: str, up_mbit: float
) -> Iterator[tuple[Person, WanClient]]:
    """Somebody with a new browser behind a phone; no script of the page may fail."""
    with (
        bed.wan_client("phone", up_mbit=up_mbit, down_mbit=5, delay_ms=50, loss_pct=1) as client,
        chromium.on_line(playwright, client, secure=[lan.url]) as browser,
    ):
        page = browser.new_context(locale=locale).new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        person = Person(page, lan.url)
        person.arrives()
        yield person, client
        assert errors == []


def test_a_hotspot_gets_the_small_format_and_a_voice(
    playwright: Playwright, bed: Testbed, lan: Tier, recording: Path
) -> None:
    for person, _ in on_hotspot(playwright, bed, lan, "en-US", up_mbit=0.4):
        person.writes()
        person.chooses(recording)
        figures = person.widget.get_by_text(re.compile(r"\d+% · "))
        expect(figures).to_contain_text(re.compile(r"[\d.]+ Mbit/s · \d+ s left"), timeout=20_000)
        expect(person.sentence).to_contain_text("changed to the small format", timeout=20_000)
        assert int(person.bar.get_attribute("aria-valuenow") or 100) < 100
        person.page.locator("#generate").click()
        person.picture("hotspot_small_chosen")
        expect(person.widget).to_contain_text(
            re.compile(r"Opus 64 kbit/s, \d+ kB; small was chosen because your uplink is 0\.")
        )
        expect(person.widget.get_by_role("radio", name="Auto")).to_be_checked()
        expect(person.widget.get_by_role("radio", name="Lossless")).to_be_enabled()
        person.hears("Done")
        expect(person.sentence).to_contain_text("Ready: 30.0 s, sent")
        person.picture("hotspot_done")


def test_an_outage_a_reload_and_a_restart_are_survived(
    playwright: Playwright, bed: Testbed, lan: Tier, recording: Path
) -> None:
    for person, client in on_hotspot(playwright, bed, lan, "zh-CN", up_mbit=0.5):
        person.chooses(recording)
        person.widget.get_by_role("radio", name="无损").check(force=True)
        person.writes()
        person.sees(10)
        with client.outage():
            expect(person.sentence).to_contain_text("线路暂时不通", timeout=20_000)
            expect(person.widget.get_by_role("button", name="立即重试")).to_be_visible()
            person.picture("outage_stalled")
        expect(person.sentence).to_contain_text("已重新连上", timeout=20_000)
        person.picture("outage_resumed")

        person.sees(30)
        person.page.reload(timeout=60_000)
        expect(person.bar).to_be_visible(timeout=30_000)
        person.sees(30)
        expect(person.widget.get_by_role("radio", name="无损")).to_be_checked()
        assert "my voice.wav" in person.widget.inner_text()
        expect(person.page.locator("#text textarea")).to_have_value(voice.TEXT, timeout=20_000)

        person.sees(45)
        lan.host.run("systemctl", "restart", "--no-block", "cosyhost-web")
        expect(person.widget.locator("[data-state=retrying]")).to_be_visible(timeout=20_000)
        person.picture("restart_retrying")
        expect(person.widget.locator("[data-state=sending]")).to_be_visible(timeout=40_000)

        person.page.locator("#generate").click()
        assert int(person.bar.get_attribute("aria-valuenow") or 100) < 100
        person.hears("完成")
        # Three times it broke; each time no more was lost than what was under way.
        assert person.sent - person.size <= 3 * LANES * CHUNK_BYTES
        expect(person.sentence).to_contain_text("已就绪：30.0 秒")
        person.picture("restart_done")


# Up and down, Mbit/s: a home line, and a phone's.
LINES = [(4.0, 12.0), (0.8, 3.0)]


@pytest.mark.parametrize(("up_mbit", "down_mbit"), LINES)
def test_the_check_of_a_line_tells_what_the_line_gives(
    playwright: Playwright, bed: Testbed, lan: Tier, up_mbit: float, down_mbit: float
) -> None:
    """By the command and by the page: within a quarter of the line's rate, and in few seconds."""
    with (
        bed.wan_client("home", up_mbit=up_mbit, down_mbit=down_mbit, delay_ms=15) as client,
        chromium.on_line(playwright, client) as browser,
    ):
        command = [sys.executable, "-m", "cosyhost.cli", "netcheck", "--json", lan.url]
        path = f"PYTHONPATH={ROOT / 'service'}"
        began = time.monotonic()
        ran = client.run("env", path, *command, check=False, timeout=60)
        assert time.monotonic() - began < 30
        document = json.loads(ran.stdout)
        assert ran.returncode == 0, document
        assert document["upload_mbit_s"] == pytest.approx(up_mbit, rel=0.25)
        assert document["download_mbit_s"] == pytest.approx(down_mbit, rel=0.25)
        assert 25 < document["latency_ms"] < 80
        assert document["prompt_upload_s"]["flac"] == pytest.approx(3.32 / up_mbit, rel=0.3)

        page = browser.new_context(locale="en-US").new_page()
        page.goto(lan.url, timeout=60_000)
        page.locator("#network summary").click(timeout=60_000)
        page.get_by_role("button", name="Check my connection").click()
        shown = page.locator(".cosy-network[data-state=done]")
        shown.wait_for(timeout=60_000)
        ms, _, down, up = page.locator("#network dd").all_inner_texts()
        assert float(up.split()[0]) == pytest.approx(up_mbit, rel=0.25)
        assert float(down.split()[0]) == pytest.approx(down_mbit, rel=0.25)
        assert 25 < float(ms.split()[0]) < 80
        assert "A 15 s prompt takes" in shown.inner_text()
        PICTURES.mkdir(parents=True, exist_ok=True)
        shown.scroll_into_view_if_needed()
        page.screenshot(path=PICTURES / f"network_{up_mbit:g}_mbit.png")
