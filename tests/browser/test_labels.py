"""What is labelled is still what a browser decodes and plays."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from playwright.sync_api import Browser

from cosyhost import audio
from cosyhost.labels import Label

RATE = 24_000
TONE = (np.sin(np.arange(RATE) / 10) * 10_000).astype("<i2").tobytes()
LABEL = Label("espeak", True, "2025-11-03T09:30:00Z", "0b54a2f7c3de4f6f9a3b5b1f0c7a9e21")
HEAR = """async ([data, type]) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const element = new Audio(URL.createObjectURL(new Blob([bytes], { type })));
  const plays = await new Promise((resolve) => {
    element.oncanplaythrough = () => resolve(true);
    element.onerror = () => resolve(false);
  });
  const sound = await new OfflineAudioContext(1, 1, 24000).decodeAudioData(bytes.buffer);
  const samples = sound.getChannelData(0).subarray(3000, -3000);
  return [plays, sound.duration, samples.reduce((most, one) => Math.max(most, one), 0)];
}"""


@pytest.mark.parametrize("response_format", ["wav", "flac", "mp3", "opus", "streamed wav"])
def test_a_browser_plays_what_is_labelled(browser: Browser, response_format: str) -> None:
    if response_format == "streamed wav":
        data, kind = audio.wav_header(RATE, LABEL) + TONE, "audio/wav"
    else:
        data = audio.encode(TONE, RATE, response_format, LABEL)
        kind = audio.MEDIA_TYPES[response_format]
    page = browser.new_page()
    plays, seconds, loudest = page.evaluate(HEAR, [base64.b64encode(data).decode(), kind])
    page.close()
    assert plays
    assert seconds == pytest.approx(1.0, abs=0.1)
    assert loudest == pytest.approx(10_000 / 32768, rel=0.1)
