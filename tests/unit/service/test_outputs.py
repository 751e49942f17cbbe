"""Outputs: every format decodes to what was spoken and says that a machine made it."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from cosyhost import audio, labels

TONE = (np.sin(np.arange(22_050) / 10) * 10_000).astype("<i2").tobytes()


@pytest.mark.parametrize("response_format", ["wav", "flac", "mp3", "opus"])
def test_each_format_decodes_and_is_tagged(response_format: str) -> None:
    comment = labels.output_comment("espeak", True, "job1")
    data = audio.encode(TONE, 22_050, response_format, comment)
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        assert file.frames / file.samplerate == pytest.approx(1.0, abs=0.1)
        assert file.comment == comment
    assert "AI-generated" in comment
    assert "PREVIEW" in comment


def test_a_streamed_wav_plays_to_its_end() -> None:
    data = audio.wav_header(22_050, "odd") + TONE
    samples, rate = soundfile.read(io.BytesIO(data), dtype="int16")
    assert rate == 22_050
    assert samples.tobytes() == TONE


def test_pcm_is_left_as_it_is() -> None:
    assert audio.encode(TONE, 22_050, "pcm", "x") == TONE
