"""The upload on slow, silent and broken lines: it ends in a valid prompt, in plain words."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser import sounds
from tests.browser.conftest import Studio
from tests.browser.server import CHUNK, IN_FLIGHT, Uploads

Visit = Callable[..., Studio]
LOSSLESS_S = 15


def test_known_audio_sends_nothing(visit: Visit, uploads: Uploads) -> None:
    visit().choose(sounds.wav(5))
    first = uploads
    studio = visit()
    studio.choose(sounds.wav(5))
    studio.reaches("ready")
    sent = first.audio_bytes
    again = visit()
    again.choose(sounds.wav(5))
    said = again.reaches("ready")
    assert first.audio_bytes == sent
    assert said == "Ready: 5.0 s. The server already has this audio, so nothing was sent."


def uplink_was(studio: Studio, bps: int) -> None:
    """As if a recent upload had been so quick."""
    studio.page.evaluate(
        "bps => localStorage.setItem('cosyhost.uplink', JSON.stringify({ bps, at: Date.now() }))",
        bps,
    )


def chosen_and_ready(studio: Studio, name: str, seed: int = 1) -> tuple[str, str]:
    """Choose a voice under a new name; the sentence and the format once it is ready."""
    studio.choose(sounds.wav(LOSSLESS_S, seed=seed), name)
    expect(studio.page.locator(".cp-name")).to_have_text(name)
    said = studio.reaches("ready", 30)
    return said, studio.told()[-1]["format"]


def sent_on_a_thin_line(studio: Studio, uploads: Uploads) -> None:
    """The voice with seed 1 goes small over a thin line; then the line is a quick one."""
    uploads.line.bps = 300_000
    uplink_was(studio, 300_000)
    studio.choose(sounds.wav(LOSSLESS_S))
    studio.ready_as("Opus")
    uploads.line.bps = 0
    chosen_and_ready(studio, "other.wav", seed=2)  # shows how quick it is
    assert chosen_and_ready(studio, "another.wav", seed=3)[1] == "flac", "it counts as quick"


def test_what_was_sent_small_is_known_on_a_quick_line(visit: Visit, uploads: Uploads) -> None:
    studio = visit()
    sent_on_a_thin_line(studio, uploads)
    studio.page.reload()  # a later visit
    studio.reaches("ready")
    sent, chunks = uploads.audio_bytes, uploads.chunks
    said, kind = chosen_and_ready(studio, "known.wav")
    assert kind == "opus"
    assert "already has this audio" in said
    assert "small was chosen because" not in studio.text()
    assert (uploads.audio_bytes, uploads.chunks) == (sent, chunks)
    studio.page.get_by_text("Lossless", exact=True).click()
    studio.ready_as("FLAC")
    assert uploads.audio(studio.sha())[:4] == b"fLaC"
    assert uploads.chunks > chunks
    # The format it was sent in last, also where the line is thin again.
    sent = uploads.audio_bytes
    studio.page.get_by_text("Auto", exact=True).click()
    uplink_was(studio, 100_000)
    said, kind = chosen_and_ready(studio, "again.wav")
    assert kind == "flac"
    assert "already has this audio" in said
    assert uploads.audio_bytes == sent


def test_what_a_browser_remembers_of_it_does_not_grow(visit: Visit) -> None:
    studio = visit()
    studio.page.evaluate(
        "localStorage.setItem('cosyhost.sent', JSON.stringify(Object.fromEntries("
        "Array.from({ length: 100 }, (_, n) => [`sound ${n}`, 'flac']))))"
    )
    studio.choose(sounds.wav(5))
    studio.reaches("ready")
    kept = studio.page.evaluate("Object.keys(JSON.parse(localStorage.getItem('cosyhost.sent')))")
    assert len(kept[0]) == 64
    assert kept[1:] == [f"sound {n}" for n in range(99)], "the oldest one makes room"


def test_what_the_server_lost_is_sent_as_fits_the_line(visit: Visit, uploads: Uploads) -> None:
    studio = visit()
    sent_on_a_thin_line(studio, uploads)
    uploads.done.clear()
    sent = uploads.audio_bytes
    uploads.line.dead_until = time.monotonic() + 6  # and the answer to that comes late
    said, kind = chosen_and_ready(studio, "lost.wav")
    assert kind == "flac"
    assert said.startswith("Ready: 15.0 s, sent")
    assert list(uploads.done) == [studio.sha()]
    assert uploads.audio_bytes - sent == studio.told()[-1]["bytes"], "nothing in vain"


def test_figures_come_from_acknowledged_bytes(visit: Visit, uploads: Uploads) -> None:
    uploads.line.bps = 900_000
    studio = visit()
    studio.page.get_by_role("button", name="Choose a file").hover()
    studio.choose(sounds.wav(LOSSLESS_S))
    studio.reaches("sending")
    figures = studio.page.locator(".cp-figures")
    expect(figures).to_contain_text("Mbit/s", timeout=8000)
    shown = figures.inner_text()
    percent = int(shown.split("%")[0])
    total = studio.told()[-1]["bytes"]
    assert percent in {int(100 * n * CHUNK / total) for n in range(15)}
    speed = float(shown.split(" Mbit/s")[0].split()[-1])
    assert 0.6 < speed < 1.0
    assert "s left" in shown
    studio.picture("sending")
    assert "A cable or another network" in studio.text()
    assert studio.page.get_attribute(".cp [role=progressbar]", "aria-valuenow") is not None
    studio.reaches("ready")
    assert studio.told()[-1]["uplink_bps"] == pytest.approx(0.9e6, rel=0.2)


def test_generate_may_be_pressed_before_it_ends(visit: Visit, uploads: Uploads) -> None:
    uploads.line.bps = 1_500_000
    studio = visit()
    studio.choose(sounds.wav(LOSSLESS_S))
    studio.reaches("sending")
    told = studio.told()[-1]
    assert (told["state"], len(told["sha256"]), told["format"]) == ("sending", 64, "flac")
    studio.reaches("ready")
    assert studio.sha() == told["sha256"]


def test_a_silent_line_is_named_and_little_is_sent_again(visit: Visit, uploads: Uploads) -> None:
    uploads.line.bps = 2_000_000
    uploads.line.die_after = [150_000]
    studio = visit()
    began = time.monotonic()
    studio.choose(sounds.wav(LOSSLESS_S))
    said = studio.reaches("stalled", 12)
    assert said.startswith("The line is stuck")
    studio.picture("stalled")
    expect(studio.page.get_by_role("button", name="Try now")).to_be_visible()
    studio.reaches("ready", 30)
    spent = time.monotonic() - began
    size = studio.told()[-1]["bytes"]
    assert uploads.audio_bytes - size <= IN_FLIGHT
    assert spent < size * 8 / 2e6 + 10 + 7


def test_it_says_when_it_goes_on(visit: Visit, uploads: Uploads) -> None:
    uploads.line.bps = 1_000_000
    uploads.line.die_after = [200_000]
    uploads.line.die_s = 7
    studio = visit()
    studio.choose(sounds.wav(LOSSLESS_S))
    studio.page.get_by_text("Lossless", exact=True).click()
    studio.reaches("stalled", 12)
    expect(studio.page.locator(".cp [role=status]")).to_contain_text(
        "Connected again", timeout=15_000
    )
    studio.reaches("ready", 30)


def test_ten_outages_still_end_in_a_valid_prompt(visit: Visit, uploads: Uploads) -> None:
    studio = visit()
    uploads.line.bps = 4_000_000
    uploads.line.die_after = [40_000 * n for n in range(1, 11)]
    uploads.line.die_s = 1
    studio.choose(sounds.wav(LOSSLESS_S))
    studio.page.get_by_text("Lossless", exact=True).click()
    for _ in range(10):
        uploads.line.reset_next = 2
        time.sleep(0.25)
    studio.reaches("ready", 60)
    assert uploads.audio(studio.sha())[:4] == b"fLaC"


def test_a_service_that_restarts_is_waited_for(visit: Visit, uploads: Uploads) -> None:
    uploads.line.fail_next = 12
    studio = visit("zh")
    studio.choose(sounds.wav(5))
    assert studio.reaches("retrying") == "忙。"
    studio.reaches("ready")


def test_a_reload_goes_on_where_it_was(visit: Visit, uploads: Uploads) -> None:
    uploads.line.bps = 600_000
    studio = visit()
    studio.choose(sounds.wav(LOSSLESS_S))
    studio.page.get_by_text("Lossless", exact=True).click()
    studio.reaches("sending")
    expect(studio.page.locator(".cp-figures")).to_contain_text("33%", timeout=9000)
    sha, size = studio.told()[-1]["sha256"], studio.told()[-1]["bytes"]
    studio.page.reload()
    studio.reaches("sending")
    assert "voice.wav" in studio.text()
    assert "2.9 MB" in studio.text()
    uploads.line.bps = 0
    studio.reaches("ready")
    assert studio.sha() == sha
    assert uploads.audio_bytes - size <= IN_FLIGHT
    studio.page.reload()
    assert "already has this audio" in studio.reaches("ready")
    expect(studio.page.get_by_role("slider", name="Start of the part")).to_be_visible()


def test_another_file_ends_the_old_upload(visit: Visit, uploads: Uploads) -> None:
    uploads.line.bps = 400_000
    studio = visit()
    studio.choose(sounds.wav(LOSSLESS_S))
    studio.reaches("sending")
    old = studio.sha()
    time.sleep(1)
    studio.choose(sounds.wav(5, seed=2), "other.wav")
    uploads.line.bps = 0
    studio.reaches("ready")
    assert studio.sha() != old
    assert old in uploads.deleted
    assert old not in uploads.done
    assert "other.wav" in studio.text()


def test_a_thin_line_gets_the_small_format_under_way(visit: Visit, uploads: Uploads) -> None:
    uploads.line.bps = 300_000
    studio = visit()
    studio.choose(sounds.wav(LOSSLESS_S))
    expect(studio.page.locator(".cp [role=status]")).to_have_text(
        "The line is slow: changed to the small format, which arrives sooner.", timeout=12_000
    )
    studio.picture("switched")
    assert "small was chosen because your uplink is 0." in studio.text()
    said = studio.reaches("ready", 20)
    assert studio.told()[-1]["format"] == "opus"
    assert said.startswith("Ready: 15.0 s, sent 12")
    # Next time it is chosen from the start.
    studio.choose(sounds.wav(LOSSLESS_S, seed=3))
    studio.reaches("sending")
    assert studio.told()[-1]["format"] == "opus"


def test_a_hash_someone_waits_for_is_not_changed(visit: Visit, uploads: Uploads) -> None:
    uploads.line.bps = 400_000
    studio = visit()
    studio.choose(sounds.wav(LOSSLESS_S))
    studio.reaches("sending")
    studio.page.evaluate("window.prompt_.pin()")
    studio.reaches("ready", 20)
    assert {told["format"] for told in studio.told()} == {None, "flac"}


def test_a_slow_line_that_moves_is_no_stall(visit: Visit, uploads: Uploads) -> None:
    uploads.line.bps = 100_000
    studio = visit()
    uplink_was(studio, 100_000)
    studio.choose(sounds.wav(9))
    studio.reaches("sending")
    studio.reaches("ready", 25)
    assert {told["state"] for told in studio.told()} <= {
        "idle", "preparing", "sending", "checking", "ready",
    }  # fmt: skip
    assert uploads.audio_bytes == studio.told()[-1]["bytes"]


def test_a_laptop_that_slept_goes_on_at_once(visit: Visit, uploads: Uploads) -> None:
    studio = visit()
    uploads.line.dead_until = time.monotonic() + 3600
    studio.choose(sounds.wav(5))
    studio.reaches("sending")
    time.sleep(0.5)
    uploads.line.dead_until = 0
    studio.page.evaluate("{ const real = Date.now; Date.now = () => real() + 3600e3 }")
    studio.reaches("ready", 4)


def test_it_survives_being_hidden_and_shown_again(visit: Visit, uploads: Uploads) -> None:
    uploads.line.bps = 1_500_000
    studio = visit()
    studio.choose(sounds.wav(LOSSLESS_S))
    studio.reaches("sending")
    studio.page.evaluate("document.getElementById('prompt').replaceChildren()")
    time.sleep(0.5)
    studio.page.evaluate("window.again()")
    assert "voice.wav" in studio.text()
    studio.reaches("ready")
    assert uploads.audio_bytes == studio.told()[-1]["bytes"]
