"""What leaves the browser: the right samples in the right format, and never more than needed."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.browser import sounds
from tests.browser.conftest import Studio
from tests.browser.server import Uploads
from tests.prompts import Samples, encoded

Visit = Callable[..., Studio]
RATE = 24_000


def decoded(data: bytes) -> tuple[Samples, int]:
    """Samples, shape [n, channels], and rate of an audio file."""
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    return samples, int(rate)


def lag_samples(one: Samples, other: Samples) -> int:
    """By how many samples `one` comes later than `other`."""
    size = len(one) + len(other)
    correlation = np.fft.irfft(np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size)), size)
    lag = int(np.argmax(correlation))
    return lag if lag < size // 2 else lag - size


@pytest.mark.parametrize(
    ("container", "subtype", "kind"),
    [
        ("WAV", "PCM_16", "audio/wav"),
        ("WAV", "FLOAT", "audio/wav"),
        ("FLAC", "PCM_24", "audio/flac"),
        ("MP3", None, "audio/mpeg"),
        ("OGG", "VORBIS", "audio/ogg"),
    ],
)
def test_any_file_becomes_flac_mono_at_24_khz(
    visit: Visit, uploads: Uploads, container: str, subtype: str | None, kind: str
) -> None:
    studio = visit()
    file = encoded(sounds.voice(6), 48_000, container, subtype)
    if container in ("MP3", "OGG"):  # or it would be the smaller one, and sent as it is
        file += bytes(400_000)
    studio.choose(file, f"voice.{container.lower()}", kind)
    studio.reaches("ready")
    data = uploads.audio(studio.sha())
    samples, rate = decoded(data)
    assert data[:4] == b"fLaC"
    assert (rate, samples.shape[1]) == (RATE, 1)
    assert len(samples) == pytest.approx(6 * RATE, abs=0.06 * RATE)
    assert soundfile.info(io.BytesIO(data)).frames == len(samples)
    assert studio.told()[-1]["format"] == "flac"


def test_flac_is_lossless(visit: Visit, uploads: Uploads) -> None:
    studio = visit()
    original = sounds.voice(5, RATE, 1)
    studio.choose(encoded(original, RATE, "WAV", "PCM_16"))
    studio.reaches("ready")
    samples, _ = decoded(uploads.audio(studio.sha()))
    assert len(samples) == len(original)
    assert np.abs(samples - original).max() <= 1.5 / 32768


def test_opus_has_the_exact_length_place_and_end_mark(visit: Visit, uploads: Uploads) -> None:
    studio = visit()
    studio.choose(sounds.wav(7.3))
    studio.reaches("ready")
    studio.page.get_by_text("Small (slow connection)").click()
    studio.ready_as("Opus")
    data = uploads.audio(studio.sha())
    assert data[:4] == b"OggS"
    last = data.rfind(b"OggS")
    assert data[last + 5] & 4, "no end-of-stream flag on the last page"
    pre_skip = int.from_bytes(data[data.find(b"OpusHead") + 10 :][:2], "little")
    assert pre_skip == 312
    samples, rate = decoded(data)
    assert len(samples) / rate == pytest.approx(7.3, abs=0.0005)
    wanted = sounds.voice(7.3, rate, 1)
    # The decoded one lies where the original lies, within a third of a millisecond.
    assert abs(lag_samples(samples[:, 0], wanted[:, 0])) <= 16
    assert len(data) < 75_000
    assert "Opus 64 kbit/s" in studio.text()


def test_the_same_audio_gives_the_same_bytes(visit: Visit) -> None:
    studio, other = visit(), visit()
    for one in (studio, other):
        one.choose(sounds.wav(4))
        one.reaches("ready")
        one.page.get_by_text("Small (slow connection)").click()
        one.ready_as("Opus")
    hashes = [[told["sha256"] for told in one.told() if told["sha256"]] for one in (studio, other)]
    assert set(hashes[0]) == set(hashes[1])
    assert len(set(hashes[0])) == 2


def test_a_small_file_is_sent_as_it_is(visit: Visit, uploads: Uploads) -> None:
    studio = visit()
    file = encoded(sounds.voice(6, 24_000, 1), 24_000, "MP3")
    studio.choose(file, "voice.mp3", "audio/mpeg")
    studio.reaches("ready")
    assert uploads.audio(studio.sha()) == file
    assert "the file as it is" in studio.text()
    assert not [a for a in studio.addresses if "libflac" in a], "libflac was loaded for nothing"


def test_a_file_the_server_cannot_read_is_sent_as_the_browser_reads_it(
    visit: Visit, uploads: Uploads
) -> None:
    uploads.line.refuse = {"OggS"}
    studio = visit()
    studio.choose(encoded(sounds.voice(6, 24_000, 1), 24_000, "OGG", "VORBIS"), "voice.ogg")
    studio.reaches("ready")
    assert uploads.audio(studio.sha())[:4] == b"fLaC"


def test_without_libflac_a_wav_is_sent(visit: Visit, uploads: Uploads) -> None:
    studio = visit()
    studio.page.route("**/vendor/*", lambda route: route.abort())
    studio.choose(sounds.wav(4))
    studio.reaches("ready")
    data = uploads.audio(studio.sha())
    samples, rate = decoded(data)
    assert (data[:4], rate, len(samples)) == (b"RIFF", RATE, 4 * RATE)
    assert "WAV, lossless" in studio.text()


def test_libflac_and_the_rest_come_only_when_needed(visit: Visit) -> None:
    studio = visit()
    own = [a.rsplit("/", 1)[1] for a in studio.addresses if "/studio/static/" in a]
    assert sorted(own) == ["prompt.css", "prompt.js", "words.en.js"]


def test_a_long_recording_is_cut_to_30_s_with_a_sentence(visit: Visit, uploads: Uploads) -> None:
    studio = visit()
    studio.choose(sounds.wav(75, 24_000, 1))
    studio.reaches("ready")
    samples, _ = decoded(uploads.audio(studio.sha()))
    assert len(samples) == 30 * RATE
    assert "The recording lasts 1:15; at most 30 s are used." in studio.text()
    studio.picture("long")


def test_an_hour_of_recording_is_opened_in_part(
    visit: Visit, uploads: Uploads, tmp_path: Path
) -> None:
    studio = visit()
    hour = np.resize(sounds.voice(30, 16_000, 1)[:, 0], 16_000 * 3600)
    (tmp_path / "hour.flac").write_bytes(encoded(hour, 16_000, "FLAC", "PCM_16"))
    studio.page.set_input_files(".cp input[type=file]", tmp_path / "hour.flac")
    studio.reaches("ready", 60)
    assert re.search(r"lasts 60:00; its first (9:5|10:0)\d are opened", studio.text())
    assert len(decoded(uploads.audio(studio.sha()))[0]) == 30 * RATE


def test_nothing_is_asked_of_sha_256_that_python_would_not_answer(visit: Visit) -> None:
    studio = visit()
    script = """async () => {
      const { sha256 } = await import('/studio/static/sha256.js');
      const hex = (b) => Array.from(b, (x) => x.toString(16).padStart(2, '0')).join('');
      const bytes = (n) => Uint8Array.from({ length: n }, (_, i) => (i * 7) % 256);
      const own = [], theirs = [];
      for (const n of [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000, 300000]) {
        own.push(hex(sha256(bytes(n))));
        theirs.push(hex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes(n)))));
      }
      return [own, theirs];
    }"""
    own, theirs = studio.page.evaluate(script)
    assert own == theirs
