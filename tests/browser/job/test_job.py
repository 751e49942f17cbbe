"""A job as a person sees and hears it: waiting, speaking, its result, and what goes wrong."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.job.conftest import Person
from tests.browser.job.server import RATE, Job, Server, voice

Visit = Callable[..., Person]
FAILED = {
    "code": "job_timeout",
    "detail": "The synthesis took longer than its limit of 60 s.",
    "detail_zh": "生成超过了 60 秒的时限。",
    "hint": "Shorten the text and try again.",
    "hint_zh": "请缩短文字再试。",
}


def heard(pieces: list[dict[str, Any]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """All that was scheduled, one piece behind the other."""
    return np.concatenate([piece["data"] for piece in pieces])


def finished(server: Server, seconds: float = 6, **more: Any) -> Job:
    """A job that was done a while ago."""
    ago = {"created_at": time.time() - 60}
    job = server.add(title="你好，世界! Hello <b>there</b>", **{**ago, **more})
    job.start()
    job.speak(seconds)
    job.tell(upload_bytes=910_000)
    job.end(upload=9.1, queue=0.8, ttfa=1.1, synth=2.0, encode=0.1)
    return job


def test_the_place_in_the_queue_is_shown_and_moves_up(server: Server, visit: Visit) -> None:
    job = server.add(position=3, eta_s=12.4)
    person = visit()
    person.generate()
    person.sees("Place 3 in the queue, about 12 s")
    person.picture("queued")
    job.tell(position=2, eta_s=7)
    person.sees("Place 2 in the queue, about 7 s")
    expect(person.page.locator(".cosy-unseen")).to_contain_text("Place 2")
    person.sees("about 5 s")  # counted down between the server's words
    job.tell(position=1, eta_s=3)
    person.sees("You are next, about 3 s")


def test_sound_begins_with_the_first_chunk(server: Server, visit: Visit) -> None:
    job = server.add()
    person = visit()
    person.generate()
    job.start()
    person.sees("the voice is being prepared")
    job.speak(0.6)
    person.hears()
    assert job.state == "running"
    job.speak(1.7)
    person.sees("Speaking: 1.7 s of speech so far")


def test_what_comes_in_pieces_is_one_sound(server: Server, visit: Visit) -> None:
    job = server.add()
    person = visit()
    person.generate()
    job.start()
    for to_s in np.arange(1, 5, 0.5):
        job.speak(float(to_s))
        time.sleep(0.2)
    job.end()
    person.sees("Done: 4.5 s of speech")
    pieces = person.pieces()
    assert len(pieces) > 3
    assert not any(piece["late"] for piece in pieces)
    assert {piece["rate"] for piece in pieces} == {RATE}
    for before, after in pairwise(pieces):
        ends = before["when"] + len(before["data"]) / RATE
        assert after["when"] == pytest.approx(ends, abs=1e-7)
    assert np.array_equal(heard(pieces), np.frombuffer(job.pcm, "<i2"))


def test_broken_lines_repeat_no_sound(server: Server, visit: Visit) -> None:
    job = server.add()
    person = visit()
    person.generate()
    job.start()
    job.speak(2.0)
    person.hears()
    assert server.cut() == 2
    job.start()
    person.sees("attempt 2")
    job.speak(3.0)
    person.sees("Speaking: 3.0 s")
    assert server.cut() == 2
    job.speak(5.0)
    person.sees("Speaking: 5.0 s")
    job.end()
    person.sees("Done: 5.0 s of speech")
    expect(person.page.locator(".cosy-time")).to_contain_text("/ 0:05")
    person.until("window.pieces.reduce((n, p) => n + p.data.length, 0) >= 120000")
    assert np.array_equal(heard(person.pieces()), np.frombuffer(job.pcm, "<i2"))


def test_a_line_cut_for_good_ends_with_the_stored_sound(server: Server, visit: Visit) -> None:
    job = server.add()
    person = visit()
    person.generate()
    job.start()
    job.speak(1.0)
    person.hears()
    server.down = True
    server.cut()
    job.speak(3.0)
    job.end()
    server.down = False
    person.sees("Done: 3.0 s of speech")
    expect(person.page.locator(".cosy-time")).to_contain_text("/ 0:03")
    person.until("window.pieces.reduce((n, p) => n + p.data.length, 0) >= 72000")
    said = heard(person.pieces())
    assert np.abs(said - np.frombuffer(job.pcm, "<i2")).max() <= 1


def test_after_a_gap_more_is_gathered_before_going_on(server: Server, visit: Visit) -> None:
    job = server.add()
    person = visit()
    person.generate()
    job.start()
    job.speak(0.5)
    expect(person.page.get_by_text("The sound is on its way…")).to_be_visible()
    before = len(person.pieces())
    job.speak(0.65)  # more than the first lead, less than the one after a gap
    person.sees("Speaking: 0.7 s")
    time.sleep(0.3)
    assert len(person.pieces()) == before
    job.speak(1.5)
    person.until(f"window.pieces.length > {before}")


def test_a_rate_of_another_engine_keeps_its_pitch(server: Server, visit: Visit) -> None:
    job = server.add(preview=True)
    job.rate = 22050
    person = visit()
    person.generate()
    job.start()
    job.speak(1.0)
    person.hears()
    person.sees("clones no voice")
    assert {piece["rate"] for piece in person.pieces()} == {22050}


def test_sound_that_the_browser_holds_back_is_offered(server: Server, visit: Visit) -> None:
    job = server.add()
    job.start()
    job.speak(2.0)
    kept = {"name": "cosyhost.job", "value": "0123456789abcdef"}
    origin = {"origin": server.url, "localStorage": [kept]}
    person = visit(storage_state={"origins": [origin]})  # nobody has touched this page
    time.sleep(2)  # looking counts as touching: this once only
    script = """() => {
      const { x, y, width } = document.querySelector('.cosy-primary').getBoundingClientRect();
      return { x, y, width, said: document.querySelector('.cosy-primary').innerText };
    }"""
    ready = person.page.evaluate(script)
    assert ready["width"] > 100
    assert ready["said"] == "The sound is ready: play"
    person.page.mouse.click(ready["x"] + 20, ready["y"] + 20)
    person.hears()
    expect(person.page.get_by_role("button", name=ready["said"])).to_be_hidden()


def test_pause_mute_and_volume(server: Server, visit: Visit) -> None:
    finished(server)
    person = visit()
    person.generate()
    person.hears()
    page = person.page
    page.get_by_role("button", name="Mute").click()
    person.until("window.loudest() < 0.001")
    page.get_by_role("button", name="Unmute").click()
    person.hears()
    page.get_by_role("slider", name="Volume").fill("0.5")
    page.get_by_role("button", name="Pause").click()
    at = person.position_s()
    time.sleep(0.4)
    assert person.position_s() == at
    page.get_by_role("button", name="Play", exact=True).click()
    person.until(f"document.querySelector('.cosy-wave input').valueAsNumber > {at + 0.1}")


def test_the_player_is_used_by_keys(server: Server, visit: Visit) -> None:
    finished(server)
    person = visit()
    person.generate()
    person.sees("Done: 6.0 s")
    person.hears()
    page = person.page
    page.get_by_role("button", name="Pause").click()
    person.slider.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert person.position_s() == pytest.approx(2, abs=0.01)
    assert person.slider.get_attribute("aria-valuetext") == "2 of 6 s"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("PageUp")
    assert person.position_s() == pytest.approx(6, abs=0.01)
    page.keyboard.press("PageDown")
    assert person.position_s() == pytest.approx(1, abs=0.01)
    before = len(person.pieces())
    page.keyboard.press("Space")
    person.hears()
    piece = person.pieces()[before]
    assert abs(piece["data"][100] - np.frombuffer(voice(6), "<i2")[RATE + 100]) <= 1
    page.keyboard.press("End")
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()


def test_the_waveform_is_where_a_finger_seeks(server: Server, visit: Visit) -> None:
    finished(server)
    person = visit()
    person.generate()
    person.hears()
    person.page.get_by_role("button", name="Pause").click()
    box = person.slider.bounding_box()
    assert box is not None
    person.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 5)
    assert person.position_s() == pytest.approx(3, abs=0.05)


def test_cancel_reaches_the_server(server: Server, visit: Visit) -> None:
    job = server.add(position=2)
    person = visit()
    person.generate()
    person.sees("Place 2")
    server.deaf = True
    person.page.get_by_role("button", name="Cancel").click()
    person.sees("did not reach the service")
    server.deaf = False
    person.page.get_by_role("button", name="Cancel").click()
    person.sees("Cancelled")
    assert server.asked("DELETE", "/v1/jobs/0123456789abcdef") == 2
    assert job.state == "cancelled"
    assert person.page.evaluate("window.states.at(-1)") == "cancelled"


def test_cancelling_while_it_speaks_ends_the_sound(server: Server, visit: Visit) -> None:
    job = server.add()
    person = visit()
    person.generate()
    job.start()
    job.speak(5)
    person.hears()
    person.page.get_by_role("button", name="Cancel").click()
    person.sees("Cancelled")
    person.until("window.loudest() < 0.001")
    expect(person.page.locator(".cosy-player")).to_be_hidden()


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["That did not work", FAILED["detail"], FAILED["hint"], "Code: job_timeout"]),
        ("zh", ["没有成功", FAILED["detail_zh"], FAILED["hint_zh"], "代码：job_timeout"]),
    ],
)
def test_a_failure_says_why_and_what_next(
    server: Server, visit: Visit, language: str, words: list[str]
) -> None:
    job = server.add(title="今天天气真好")
    person = visit(language)
    person.generate()
    job.start()
    job.tell(state="failed", problem=FAILED)
    for sentence in words:
        person.sees(sentence)
    person.picture(f"failed-{language}")
    person.page.get_by_role("button", name={"en": "Try again", "zh": "重试"}[language]).click()
    assert person.page.evaluate("window.retried") == 1


def test_a_reload_goes_on_with_the_job(server: Server, visit: Visit) -> None:
    job = server.add(position=4, title="Good morning")
    person = visit()
    person.generate()
    person.sees("Place 4")
    person.page.reload()
    person.sees("Place 4")
    job.start()
    job.speak(2.0)
    job.end()
    person.sees("Done: 2.0 s of speech")
    person.page.reload()
    person.sees("Done: 2.0 s of speech")
    expect(person.page.locator(".cosy-time")).to_contain_text("0:00 / 0:02")
    assert person.pieces() == []  # a page that opens keeps silent
    asked = server.asked("GET", "/audio?")
    person.page.wait_for_timeout(500)
    assert server.asked("GET", "/audio?") == asked  # and fetches no sound until it is wanted
    person.page.get_by_role("button", name="Play", exact=True).click()
    person.hears()
    assert server.asked("GET", "/audio?response_format=flac") == 1
    del server.jobs["0123456789abcdef"]
    person.page.reload()
    person.page.wait_for_timeout(500)
    expect(person.view.first).to_be_hidden()
    assert person.page.evaluate("localStorage.getItem('cosyhost.job')") is None


def test_a_reload_while_it_speaks_hears_all_of_it_once(server: Server, visit: Visit) -> None:
    job = server.add()
    person = visit()
    person.generate()
    job.start()
    job.speak(2.0)
    person.hears()
    person.page.reload()
    person.sees("Speaking: 2.0 s")
    person.page.mouse.click(5, 5)
    offered = person.page.get_by_role("button", name="The sound is ready: play")
    if offered.is_visible():
        offered.click()
    job.speak(4.0)
    job.end()
    person.sees("Done: 4.0 s of speech")
    person.until("window.pieces.reduce((n, p) => n + p.data.length, 0) >= 96000")
    assert np.array_equal(heard(person.pieces()), np.frombuffer(job.pcm, "<i2"))


def test_a_long_wait_is_no_late_sound(server: Server, visit: Visit) -> None:
    job = server.add(position=1)
    person = visit()
    person.generate()
    person.sees("You are next")
    person.page.wait_for_timeout(500)
    assert server.asked("GET", "response_format=pcm") == 1
    # Eleven seconds pass in the queue; then the first words of the job come before its sound.
    person.page.evaluate("const now = Date.now; Date.now = () => now() + 11e3")
    job.start()
    job.tell(spoken_s=1.0)
    person.sees("Speaking: 1.0 s")
    person.page.wait_for_timeout(1500)
    assert server.asked("GET", "response_format=pcm") == 1
    job.speak(1.0)
    person.hears()


def test_offline_is_said_and_gets_over(server: Server, visit: Visit) -> None:
    job = server.add(position=2)
    person = visit()
    person.generate()
    person.sees("Place 2")
    person.page.context.set_offline(True)
    person.sees("You are offline. The job goes on without you")
    person.picture("offline")
    job.start()
    job.speak(3)
    person.page.context.set_offline(False)
    person.sees("Speaking: 3.0 s of speech", timeout_s=2)
    person.hears()
    expect(person.page.locator(".cosy-warn")).to_be_hidden()


def test_a_restart_of_the_service_is_waited_for(server: Server, visit: Visit) -> None:
    job = server.add(position=2)
    person = visit("zh")
    person.generate()
    person.sees("排在第 2 位")
    server.down = True
    server.cut()
    person.sees("与服务的连接断开了")
    job.tell(position=1)
    server.down = False
    person.sees("下一个就是您")
    expect(person.page.locator(".cosy-warn")).to_be_hidden()


def test_a_dead_line_is_noticed(server: Server, visit: Visit) -> None:
    server.add(position=2)
    person = visit()
    person.generate()
    person.sees("Place 2")
    # The wall clock leaps, as over a laptop's sleep: what was open then is dead.
    person.page.evaluate("const now = Date.now; Date.now = () => now() + 3600e3")
    person.page.wait_for_timeout(1500)
    assert server.asked("GET", "/events") == 2
    person.sees("Place 2")


def test_the_result_can_be_kept(server: Server, visit: Visit) -> None:
    finished(server)
    person = visit()
    person.generate()
    person.sees("Done: 6.0 s of speech")
    assert person.page.locator("#job .cosy-title").inner_text() == "你好，世界! Hello <b>there</b>"
    for label, kind in [("WAV", "wav"), ("FLAC", "flac"), ("MP3", "mp3"), ("Opus", "opus")]:
        with person.page.expect_download() as download:
            person.view.get_by_role("link", name=f"Download {label}").click()
        assert download.value.suggested_filename == f"你好-世界-Hello-b-there-b-01234567.{kind}"
        assert download.value.path().stat().st_size > 5_000
    link = person.page.get_by_label("Link to the sound").input_value()
    assert link == f"{server.url}/v1/jobs/0123456789abcdef/audio"
    person.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    person.page.get_by_role("button", name="Copy").click()
    expect(person.page.get_by_role("button", name="Copied")).to_be_visible()
    assert person.page.evaluate("navigator.clipboard.readText()") == link


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("en", "12.0 s: 9.1 s of them your upload at 0.80 Mbit/s; first sound 1.1 s after"),
        ("zh", "共 12.0 秒，其中上传 9.1 秒（0.80 Mbit/s）；上传后 1.1 秒出声"),
    ],
)
def test_it_tells_where_the_seconds_went(
    server: Server, visit: Visit, language: str, sentence: str
) -> None:
    finished(server)
    person = visit(language)
    person.generate()
    person.sees(sentence)
    assert person.page.locator(".cosy-bar i").count() == 4


@pytest.mark.parametrize(
    ("most", "english", "chinese"),
    [
        ("upload", "your upload;", "上传 9.0 秒；"),
        ("queue", "waiting in the queue;", "排队 9.0 秒；"),
        ("synth", "speaking;", "朗读 9.0 秒；"),
        ("encode", "saving the sound;", "保存 9.0 秒；"),
    ],
)
def test_the_largest_part_is_named(
    server: Server, visit: Visit, most: str, english: str, chinese: str
) -> None:
    job = server.add(created_at=time.time() - 60, upload_bytes=0)
    job.start()
    job.speak(2)
    job.end(**{"upload": 0.5, "queue": 0.5, "ttfa": 1.0, "synth": 0.5, "encode": 0.5, most: 9.0})
    person = visit()
    person.generate()
    person.sees(f"10.5 s: 9.0 s of them {english}")
    person.page.evaluate("window.job.setLang('zh')")
    person.sees(f"共 10.5 秒，其中{chinese}")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_slow_download_is_named_with_its_rate(
    server: Server, visit: Visit, language: str
) -> None:
    job = server.add()
    person = visit(language)
    person.generate()
    person.sees({"en": "You are next", "zh": "下一个就是您"}[language])
    server.pace_bytes_s = 100_000  # 0.8 Mbit/s
    job.start()
    job.speak(5)  # 240 kB: 2.4 s
    job.end(upload=0.1, queue=0.1, ttfa=0.3, synth=0.6, encode=0.1)
    said = person.view.locator(".cosy-spent p")
    pattern = {
        "en": r"(.*) s: (.*) s of them your download at (.*) Mbit/s; first",
        "zh": r"共 (.*) 秒，其中下载 (.*) 秒（(.*) Mbit/s）；",
    }[language]
    expect(said).to_have_text(re.compile(pattern), timeout=10_000)
    person.until("document.querySelector('.cosy-time').innerText.endsWith('/ 0:05')")
    person.page.wait_for_timeout(300)
    found = re.match(pattern, said.inner_text())
    assert found
    total_s, download_s, mbps = map(float, found.groups())
    assert 2 < download_s < 3.5
    assert total_s == pytest.approx(download_s + 0.9, abs=0.11)
    assert mbps == pytest.approx(0.8, rel=0.15)
    expect(person.view.locator("i.cosy-download")).to_have_count(2)  # in the bar, and its legend


def test_a_sound_that_was_cleaned_away_says_so(server: Server, visit: Visit) -> None:
    job = finished(server)
    person = visit()

    def gone(route: Any) -> None:
        problem = {"code": "output_gone", "detail": "This output was removed.", "hint": "Again."}
        route.fulfill(status=410, json=problem)

    person.page.route("**/audio?*", gone)
    person.generate(job.document["id"])
    person.sees("This output was removed.")
    expect(person.page.locator(".cosy-result")).to_be_hidden()
    expect(person.page.locator(".cosy-player")).to_be_hidden()


def test_the_language_can_be_changed_under_way(server: Server, visit: Visit) -> None:
    server.add(position=3)
    person = visit()
    person.generate()
    person.sees("Place 3")
    person.page.evaluate("window.job.setLang('zh'); window.history_.setLang('zh')")
    person.sees("排在第 3 位")
    expect(person.page.locator(".cosy-history")).to_contain_text("我的任务")


def test_a_rebuilt_page_goes_on_speaking(server: Server, visit: Visit) -> None:
    job = server.add()
    person = visit()
    person.generate()
    job.start()
    job.speak(4)
    person.hears()
    person.page.evaluate("document.getElementById('job').innerHTML = ''; window.again()")
    person.sees("Speaking: 4.0 s")
    person.hears()
    assert len(server.streams) == 2


def test_the_history_lists_plays_and_pages(server: Server, visit: Visit) -> None:
    for n in range(20):
        job = server.add(f"{n:016x}", title=f"Sentence {n}", created_at=1.7e9 + n)
        job.start()
        job.speak(1.0 + n / 10)
        job.end(queue=0.1, synth=0.5)
    server.jobs[f"{19:016x}"].tell(state="failed", problem=FAILED)
    person = visit()
    page = person.page
    rows = page.locator(".cosy-history li")
    expect(rows).to_have_count(8)
    expect(rows.first).to_contain_text("Sentence 19")
    expect(rows.first).to_contain_text("failed")
    more = page.get_by_role("button", name="Show more")
    more.focus()
    page.keyboard.press("Enter")
    expect(rows).to_have_count(16)
    assert page.evaluate("document.activeElement.ariaLabel") == "Play “Sentence 11”"
    page.keyboard.press("Enter")
    person.sees("Done: 2.1 s of speech")
    person.hears()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download “Sentence 18”, MP3").click()
    assert download.value.suggested_filename == "Sentence-18-00000000.mp3"


def test_the_history_knows_when_a_job_ends(server: Server, visit: Visit) -> None:
    job = server.add(title="Just now")
    person = visit()
    history = person.page.locator(".cosy-history")
    person.generate()
    expect(history).to_contain_text("waiting")
    job.start()
    expect(history).to_contain_text("speaking")
    job.speak(1.5)
    job.end()
    expect(history).to_contain_text("1.5 s")


def test_a_history_entry_is_deleted_when_confirmed(server: Server, visit: Visit) -> None:
    for n, title in enumerate(["First", "Second", "Third"]):
        finished(server).tell(title=title)
        server.jobs[f"{n:016x}"] = server.jobs.pop("0123456789abcdef")
        server.jobs[f"{n:016x}"].tell(id=f"{n:016x}", created_at=1.7e9 - n)
    server.add("f" * 16, title="Waits", created_at=1.7e9 + 1)
    person = visit()
    page = person.page
    rows = page.locator(".cosy-history li")
    expect(rows).to_have_count(4)
    expect(rows.first.locator(".cosy-confirm")).to_have_count(0)  # Cancel is for these
    rows.nth(2).get_by_role("button", name="Play").click()
    person.sees("Done: 6.0 s")
    delete = page.get_by_role("button", name="Delete “Second” and its sound")
    delete.click()
    expect(rows).to_have_count(4)
    server.deaf = True
    delete.click()
    expect(page.locator(".cosy-history")).to_contain_text("could not be deleted")
    server.deaf = False
    delete.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(rows).to_have_count(3)
    expect(person.view).to_be_hidden()  # it was the one shown
    assert page.evaluate("document.activeElement.ariaLabel") == "Play “Third”"
    assert set(server.jobs) == {"0" * 16, "0" * 15 + "2", "f" * 16}
    assert server.asked("DELETE", f"/v1/jobs/{1:016x}?forget=true") == 2


def test_an_empty_history_says_what_it_is_for(visit: Visit) -> None:
    person = visit("zh")
    expect(person.page.locator(".cosy-history")).to_contain_text("还没有")


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_it_looks_calm(server: Server, visit: Visit, look: str) -> None:
    server.look = "dark" if look == "dark" else ""
    for n, title in enumerate(["Good morning, and welcome to the show", "早上好", "A cut one"]):
        server.add(f"{n:016x}", title=title, created_at=time.time() - 9000 * n, state="done")
        server.jobs[f"{n:016x}"].speak(3 + n)
        server.jobs[f"{n:016x}"].end()
    server.jobs[f"{2:016x}"].tell(state="failed", problem=FAILED)
    job = server.add(title="欢迎使用，今天我们来听一段克隆的声音。", preview=True)
    phone = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, "has_touch": True}
    person = visit("zh" if look == "phone" else "en", **(phone if look == "phone" else {}))
    person.generate()
    job.start()
    job.speak(5)
    person.hears()
    time.sleep(1)
    person.picture(f"speaking-{look}")
    job.tell(upload_bytes=910_000)
    job.end(upload=9.1, queue=0.8, ttfa=1.1, synth=2.0, encode=0.1)
    person.sees("5.0")
    expect(person.page.locator(".cosy-result")).to_be_visible()
    person.picture(f"done-{look}")
    width = person.page.evaluate("document.documentElement.scrollWidth")
    assert width <= (360 if look == "phone" else 720)
