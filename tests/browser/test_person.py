"""The widget in a person's hands: recording, cutting by keyboard, wrong files, both languages."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
from playwright.sync_api import expect

from tests.browser import sounds
from tests.browser.conftest import INSECURE_HOST, Studio
from tests.browser.server import Uploads
from tests.prompts import wav

Visit = Callable[..., Studio]
PHONE = {"viewport": {"width": 375, "height": 780}, "device_scale_factor": 2, "has_touch": True}
DESKTOP = {"viewport": {"width": 800, "height": 460}}


def png() -> bytes:
    """A picture of one grey dot."""

    def block(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    body = block(b"IHDR", head) + block(b"IDAT", zlib.compress(b"\0\x80")) + block(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_the_microphone_records_with_level_and_time(visit: Visit, uploads: Uploads) -> None:
    studio = visit(permissions=["microphone"], **DESKTOP)
    studio.page.get_by_role("button", name="Record").click()
    expect(studio.page.locator(".cp-time")).to_contain_text("0:04", timeout=10_000)
    level = studio.page.locator(".cp-level")
    assert any(level.evaluate("meter => meter.value") > 0.3 for _ in range(200))
    assert studio.said().startswith("Recording: please speak.")
    studio.picture("recording")
    studio.page.get_by_role("button", name="Stop").click()
    studio.reaches("ready")
    data = uploads.audio(studio.sha())
    assert soundfile.info(io.BytesIO(data)).duration == pytest.approx(5, abs=1.1)
    assert studio.page.inner_text(".cp-name") == "Recording"


def test_recording_can_be_dropped(visit: Visit) -> None:
    studio = visit(permissions=["microphone"])
    studio.page.get_by_role("button", name="Record").click()
    studio.page.get_by_role("button", name="Cancel").click()
    expect(studio.page.get_by_role("button", name="Choose a file")).to_be_visible()
    studio.reaches("idle")


def test_plain_http_still_works_and_says_what_is_missing(visit: Visit, uploads: Uploads) -> None:
    studio = visit(host=INSECURE_HOST, **DESKTOP)
    assert studio.page.evaluate("isSecureContext") is False
    studio.page.get_by_role("button", name="Record").click()
    expect(studio.page.locator(".cp [role=status]")).to_contain_text("Recording needs https")
    studio.choose(sounds.wav(5))
    studio.reaches("ready")
    assert uploads.audio(studio.sha())[:4] == b"fLaC"
    assert studio.page.is_disabled(".cp input[value=small]")
    assert "The small format needs https" in studio.text()
    studio.picture("plain_http")


def test_handles_move_by_keyboard_and_the_cut_is_sent(visit: Visit, uploads: Uploads) -> None:
    studio = visit()
    studio.choose(sounds.wav(10))
    studio.reaches("ready")
    whole = studio.sha()
    start = studio.page.get_by_role("slider", name="Start of the part")
    end = studio.page.get_by_role("slider", name="End of the part")
    start.focus()
    for _ in range(5):
        studio.page.keyboard.press("ArrowRight")
    studio.page.keyboard.press("PageUp")
    end.focus()
    studio.page.keyboard.press("Shift+ArrowLeft")
    assert start.get_attribute("aria-valuenow") == "1.5"
    assert end.get_attribute("aria-valuenow") == "9.0"
    assert "7.5 s chosen" in studio.text()
    studio.reaches("preparing")
    studio.reaches("ready")
    assert studio.sha() != whole
    data = soundfile.info(io.BytesIO(uploads.audio(studio.sha())))
    assert data.frames == 7.5 * 24_000
    studio.page.keyboard.press("Home")  # never under 3 s: the other end gives way
    assert end.get_attribute("aria-valuenow") == "3.0"
    assert start.get_attribute("aria-valuenow") == "0.0"


def test_the_part_stays_within_3_to_30_s(visit: Visit) -> None:
    studio = visit()
    studio.choose(sounds.wav(75, 24_000, 1))
    studio.reaches("ready")
    end = studio.page.get_by_role("slider", name="End of the part")
    start = studio.page.get_by_role("slider", name="Start of the part")
    end.focus()
    studio.page.keyboard.press("End")
    assert float(end.get_attribute("aria-valuenow") or 0) == pytest.approx(75, abs=0.1)
    assert float(start.get_attribute("aria-valuenow") or 0) == pytest.approx(45, abs=0.1)
    expect(studio.page.get_by_label("Where in the recording")).to_be_visible()


def test_the_handle_can_be_dragged(visit: Visit, uploads: Uploads) -> None:
    studio = visit(**DESKTOP)
    studio.choose(sounds.wav(10))
    studio.reaches("ready")
    box = studio.page.locator(".cp-track").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    studio.page.mouse.move(box["x"], middle)
    studio.page.mouse.down()
    studio.page.mouse.move(box["x"] + box["width"] / 4, middle, steps=4)
    studio.page.mouse.up()
    studio.reaches("preparing")
    studio.reaches("ready")
    expect(studio.page.locator(".cp-chosen")).to_contain_text("0:02.5 – 0:10.0")
    studio.picture("ready")
    assert len(uploads.done) == 2


def test_the_part_is_played_before_it_is_sent(visit: Visit) -> None:
    studio = visit()
    studio.choose(sounds.wav(3.2))
    studio.reaches("ready")
    studio.page.get_by_role("button", name="Play this part").click()
    expect(studio.page.get_by_role("button", name="Stop playing")).to_be_visible()
    expect(studio.page.get_by_role("button", name="Play this part")).to_be_visible(timeout=6000)


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("empty.wav", b"", "The file is empty (0 bytes): choose or record it again."),
        ("short.wav", sounds.wav(1.5), "It lasts 1.5 s; at least 3 s are needed."),
        ("silent.wav", wav(np.zeros(96_000), 24_000), "It is almost silent"),
        ("phone.wav", sounds.wav(5, 8_000, 1), "It is sampled at 8000 Hz"),
        ("loud.wav", wav(sounds.voice(5) * 20, 48_000), "It is badly clipped"),
    ],
)
def test_a_file_that_cannot_do_is_refused_before_sending(
    visit: Visit, uploads: Uploads, name: str, data: bytes, sentence: str
) -> None:
    studio = visit()
    studio.choose(data, name)
    assert studio.reaches("failed").startswith(sentence)
    assert uploads.audio_bytes == 0


def test_a_picture_named_wav_gets_the_servers_sentence(visit: Visit, uploads: Uploads) -> None:
    studio = visit("zh", **DESKTOP)
    studio.choose(png(), "voice.wav")
    said = studio.reaches("failed")
    assert said == "这个文件不是能识别的音频。请使用 WAV、FLAC、MP3、Ogg 或 Opus。"
    assert uploads.audio_bytes == len(png())
    expect(studio.page.locator("[data-do=try_now]")).to_be_hidden()
    studio.picture("refused_zh")
    studio.page.get_by_role("button", name="移除").click()
    studio.reaches("idle")


def test_noise_over_the_limit_is_not_sent(visit: Visit, uploads: Uploads) -> None:
    studio = visit()
    studio.choose(b"no audio" * 1_500_000, "film.mkv", "video/x-matroska")
    assert "with more than 10 MB it cannot be sent as it is" in studio.reaches("failed")
    assert uploads.audio_bytes == 0


def test_a_cut_wav_is_named_and_used_as_far_as_it_goes(visit: Visit) -> None:
    studio = visit()
    studio.choose(sounds.wav(10)[:1_000_000])
    studio.reaches("ready")
    assert "The file is cut off: its end is missing." in studio.text()


def test_script_tags_in_a_name_are_text(visit: Visit) -> None:
    studio = visit()
    studio.choose(sounds.wav(4), "<img src=x onerror=alert(1)>.wav")
    studio.reaches("ready")
    assert "<img src=x onerror=alert(1)>.wav" in studio.text()
    assert studio.page.locator(".cp img").count() == 0


def test_a_name_of_10_000_characters_breaks_no_layout(visit: Visit) -> None:
    studio = visit(**PHONE)
    studio.choose(sounds.wav(4), "很长的名字" * 2000 + ".wav")
    studio.reaches("ready")
    box = studio.page.locator(".cp").bounding_box()
    assert box is not None
    assert box["height"] < 780
    assert studio.page.evaluate("document.documentElement.scrollWidth") <= 375


def test_a_file_can_be_dropped_and_pasted(visit: Visit) -> None:
    script = """([type, data]) => {
      const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
      const box = new DataTransfer();
      box.items.add(new File([bytes], `${type}.wav`, { type: 'audio/wav' }));
      const event = type === 'drop'
        ? new DragEvent('drop', { dataTransfer: box, bubbles: true })
        : new ClipboardEvent('paste', { clipboardData: box, bubbles: true });
      document.querySelector('.cp').dispatchEvent(event);
    }"""
    import base64

    studio = visit()
    for n, way in enumerate(("drop", "paste")):
        studio.page.evaluate(script, [way, base64.b64encode(sounds.wav(4, seed=n + 1)).decode()])
        expect(studio.page.locator(".cp-name")).to_contain_text(f"{way}.wav")
        studio.reaches("ready")


def test_it_speaks_chinese_and_english(visit: Visit) -> None:
    zh, en = visit("zh", **DESKTOP), visit("en", **DESKTOP)
    assert "请选择、拖入、粘贴或录制" in zh.text()
    assert "Choose, drop, paste or record" in en.text()
    zh.picture("idle_zh")
    en.picture("idle_en")
    same = zh.page.evaluate(
        """async () => {
          const [{ default: ZH }, { default: EN }] = await Promise.all(
            ['zh', 'en'].map((tag) => import(`/studio/static/words.${tag}.js`)));
          const holes = (text) => [...text.matchAll(/\\{\\w+\\}/g)].map(String).sort().join();
          return Object.keys(EN).every((key) => holes(ZH[key] ?? '') === holes(EN[key]))
            && Object.keys(EN).join() === Object.keys(ZH).join();
        }"""
    )
    assert same, "a sentence or a figure lacks in one language"


def test_phone_and_dark_look(visit: Visit) -> None:
    for language in ("zh", "en"):
        studio = visit(language, color_scheme="dark", **PHONE)
        studio.choose(sounds.wav(12), "我的声音 — a rather long file name of a recording.wav")
        studio.reaches("ready")
        studio.picture(f"phone_dark_{language}")
        wide = studio.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 375, "the phone layout scrolls sideways"
    light = visit("zh", **PHONE)
    light.picture("phone_idle")
