"""Outputs: every format decodes to what was spoken, and its label is read by us and by others."""

from __future__ import annotations

import contextlib
import io
import json
import re

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from cosyhost import audio, labels, tags
from cosyhost.errors import Problem
from cosyhost.labels import Label

RATE = 22_050
TONE = (np.sin(np.arange(RATE) / 10) * 10_000).astype("<i2").tobytes()
LABEL = Label("espeak", True, "2025-11-03T09:30:00Z", "0b54a2f7c3de4f6f9a3b5b1f0c7a9e21", "Example")
FORMATS = ("wav", "flac", "mp3", "opus")

tokens = st.from_regex(r"[!#-\[\]-~]{1,64}", fullmatch=True)
any_label = st.builds(
    Label,
    engine=tokens,
    preview=st.booleans(),
    created=st.integers(0, 4_000_000_000).map(labels.utc),
    job=tokens,
    producer=tokens,
    version=tokens,
)


def reading(data: bytes) -> labels.Reading:
    found = tags.read(io.BytesIO(data))
    return labels.read(found.comments, found.aigc)


def with_ffmpeg(data: bytes) -> dict[str, str]:
    """What FFmpeg tells of a file, by names in lower case."""
    with av.open(io.BytesIO(data)) as container:
        told = container.metadata | container.streams.audio[0].metadata
    return {name.lower(): value for name, value in told.items()}


@pytest.mark.parametrize("response_format", FORMATS)
def test_each_format_decodes_and_is_labelled(response_format: str) -> None:
    data = audio.encode(TONE, RATE, response_format, LABEL)
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        assert file.frames / file.samplerate == pytest.approx(1.0, abs=0.1)
        loudest = float(np.abs(file.read()[2000:-2000]).max())
        assert loudest == pytest.approx(10_000 / 32768, rel=0.1)
    assert reading(data).label == LABEL


@pytest.mark.parametrize("response_format", ["wav", "flac"])
def test_a_lossless_format_changes_no_sample(response_format: str) -> None:
    data = audio.encode(TONE, RATE, response_format, LABEL)
    assert soundfile.read(io.BytesIO(data), dtype="int16")[0].tobytes() == TONE


@given(label=any_label, response_format=st.sampled_from(FORMATS))
@settings(deadline=None, max_examples=150)
def test_any_label_comes_back_from_any_format(label: Label, response_format: str) -> None:
    assert reading(audio.encode(TONE[:4000], RATE, response_format, label)).label == label


@given(label=any_label)
def test_a_comment_is_one_line_for_any_player(label: Label) -> None:
    assert re.fullmatch(r"[ -~]{1,300}", label.comment)
    assert label.comment.startswith("AI-generated")
    assert ("PREVIEW" in label.comment) == label.preview


@given(label=any_label)
def test_the_field_is_what_annex_e_asks_for(label: Label) -> None:
    fields = json.loads(label.aigc)
    assert tuple(fields) == labels.AIGC_FIELDS
    assert fields["Label"] == "1"
    assert fields["ContentPropagator"] == fields["ContentProducer"] == label.producer
    assert fields["PropagateID"] == fields["ProduceID"] == label.job
    assert all(re.fullmatch(r"[!#-\[\]-~]*", value) for value in fields.values())


@pytest.mark.parametrize("response_format", FORMATS)
def test_libsndfile_reads_the_comment_and_the_date(response_format: str) -> None:
    data = audio.encode(TONE, RATE, response_format, LABEL)
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        assert file.comment == LABEL.comment
        # An ID3 time is in UTC and has no letter for it.
        assert file.date == LABEL.created.rstrip("Z" if response_format == "mp3" else "")


@pytest.mark.parametrize("response_format", ["flac", "mp3", "opus"])
def test_ffmpeg_reads_the_field(response_format: str) -> None:
    told = with_ffmpeg(audio.encode(TONE, RATE, response_format, LABEL))
    assert told["aigc"] == LABEL.aigc
    assert told["comment"] == LABEL.comment


@pytest.mark.parametrize("length", [None, len(TONE)])
def test_ffmpeg_reads_the_broadcast_chunk_of_a_wav(length: int | None) -> None:
    told = with_ffmpeg(audio.wav_header(RATE, LABEL, length) + TONE)
    assert told["comment"] == LABEL.comment
    assert told["date"] == LABEL.created
    # FFmpeg's names for bext's originator and time.
    assert (told["encoded_by"], told["originator_reference"]) == ("CosyHost", LABEL.job)
    assert told["creation_time"] == "09:30:00"
    assert told["encoder"] == LABEL.software
    assert "A=PCM,F=22050,W=16,M=mono" in told["coding_history"]


def test_a_streamed_wav_plays_to_its_end() -> None:
    data = audio.wav_header(RATE, LABEL) + TONE
    samples, rate = soundfile.read(io.BytesIO(data), dtype="int16")
    assert rate == RATE
    assert samples.tobytes() == TONE
    with av.open(io.BytesIO(data)) as container:
        assert isinstance(container, av.container.InputContainer)
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    assert np.concatenate(frames, axis=1).astype("<i2").tobytes() == TONE
    assert reading(data).label == LABEL


def test_pcm_is_left_as_it_is() -> None:
    assert audio.encode(TONE, RATE, "pcm", LABEL) == TONE


@pytest.mark.parametrize("wrong", ["", "two words", 'quote"', "back\\slash", "克隆", "x" * 65])
def test_what_annex_e_does_not_allow_is_no_label(wrong: str) -> None:
    with pytest.raises(ValueError, match="not fit"):
        Label("espeak", True, "2025-11-03T09:30:00Z", wrong)


@pytest.mark.parametrize("wrong", ["", "2025-11-03", "2025-13-03T09:30:00Z", "2025-11-03T09:30:00"])
def test_a_time_is_in_utc(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"time|month"):
        Label("espeak", True, wrong, "1")


# The sign that is heard


@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000, 48_000])
@pytest.mark.parametrize("place", ["start", "end"])
def test_the_sign_is_short_long_short_short_on_the_speech_s_far_side(rate: int, place: str) -> None:
    heard = np.frombuffer(audio.sign(rate, place), "<i2").astype(float)
    assert len(heard) == pytest.approx(audio.mark.SECONDS * rate, abs=20)
    unit = round(audio.mark.UNIT_S * rate)
    tones = heard[: 11 * unit] if place == "start" else heard[-11 * unit :]
    pause = heard[11 * unit :] if place == "start" else heard[: -11 * unit]
    loud = [float(np.abs(tones[n * unit :][unit // 4 : unit // 2]).max()) for n in range(11)]
    assert "".join("01"[level > 3000] for level in loud) == "10111000101"
    assert max(loud) < 6000
    assert not pause.any()


@pytest.mark.parametrize("place", ["none", "start", "end"])
def test_the_speech_is_found_beside_the_sign(place: str) -> None:
    sign, speech = np.frombuffer(audio.sign(RATE, place), "<i2"), np.frombuffer(TONE, "<i2")
    both = [sign, speech] if place == "start" else [speech, sign]
    assert audio.without(np.concatenate(both), RATE, place).tobytes() == TONE


# Files of others, and broken ones


@given(data=st.binary(max_size=400))
@settings(max_examples=300)
def test_no_bytes_break_the_reader(data: bytes) -> None:
    for magic in (b"", b"RIFF\0\0\0\0WAVE", b"fLaC", b"OggS", b"ID3\x03", b"ID3\x04"):
        with contextlib.suppress(Problem):
            tags.read(io.BytesIO(magic + data))


@given(st.sampled_from(FORMATS), st.integers(0, 1500), st.integers(1, 255))
@settings(deadline=None, max_examples=200)
def test_a_flipped_byte_breaks_no_reader(response_format: str, at: int, flip: int) -> None:
    data = bytearray(audio.encode(TONE[:4000], RATE, response_format, LABEL))
    data[at % len(data)] ^= flip
    with contextlib.suppress(Problem):
        reading(bytes(data))


@pytest.mark.parametrize("text", ["latin-1", "utf-16", "utf-16-be", "utf-8"])
@pytest.mark.parametrize("version", [3, 4])
def test_id3_of_other_programs_is_read(version: int, text: str) -> None:
    code = ["latin-1", "utf-16", "utf-16-be", "utf-8"].index(text)
    end = b"\0\0" if text.startswith("utf-16") else b"\0"
    body = bytes([code]) + "AIGC".encode(text) + end + LABEL.aigc.encode(text)
    size = tags._syncsafe(len(body)) if version == 4 else len(body).to_bytes(4, "big")
    picture = b"APIC" + (b"\0\0\0\x09" + b"\0\0") + b"\x01" * 9
    frames = picture + b"TXXX" + size + b"\0\0" + body
    data = b"ID3" + bytes([version, 0, 0]) + tags._syncsafe(len(frames)) + frames
    found = reading(data + b"\xff\xfb\x90\0")
    assert found.verdict == "foreign"
    assert found.aigc == json.loads(LABEL.aigc)


def test_an_unsynchronised_id3_tag_is_read() -> None:
    body = b"\x01" + "AIGC".encode("utf-16") + b"\0\0" + LABEL.aigc.encode("utf-16")
    frames = b"TXXX" + len(body).to_bytes(4, "big") + b"\0\0" + body
    frames = frames.replace(b"\xff", b"\xff\0")
    data = b"ID3\x03\0\x80" + tags._syncsafe(len(frames)) + frames
    assert reading(data).verdict == "foreign"


def test_a_label_is_found_behind_the_sound() -> None:
    plain = io.BytesIO()
    soundfile.write(plain, np.zeros(101, "int16"), RATE, format="WAV")
    data = plain.getvalue() + tags.wav_chunks(LABEL, RATE)
    assert reading(data).label == LABEL


def test_the_label_of_annex_e_s_own_form_is_read() -> None:
    """The annex prints the seven strings in an object AIGC, the practice guides without."""
    found = labels.read([], [json.dumps({"AIGC": json.loads(LABEL.aigc)})])
    assert (found.verdict, found.aigc) == ("foreign", json.loads(LABEL.aigc))


@pytest.mark.parametrize(
    ("comments", "aigc", "verdict", "reason"),
    [
        ([], [], "none", ""),
        (["Recorded by hand"], [], "none", ""),
        ([LABEL.comment], [LABEL.aigc], "cosyhost", ""),
        (["Recorded by hand", LABEL.comment], [LABEL.aigc, LABEL.aigc], "cosyhost", ""),
        ([], [LABEL.aigc], "foreign", ""),
        ([LABEL.comment], [], "damaged", "aigc_missing"),
        ([LABEL.comment], ["{"], "damaged", "aigc_malformed"),
        ([], ["[" * 60_000], "damaged", "aigc_malformed"),
        ([], ["[]"], "damaged", "aigc_malformed"),
        ([], [LABEL.aigc.replace('"1"', "1")], "damaged", "aigc_malformed"),
        ([], [LABEL.aigc.replace('"1"', '"7"')], "damaged", "aigc_malformed"),
        ([], [LABEL.aigc.replace("Example", "")], "damaged", "aigc_malformed"),
        ([], [LABEL.aigc, LABEL.aigc.replace("Example", "Other")], "damaged", "aigc_twice"),
        ([LABEL.comment], [LABEL.aigc.replace(LABEL.job, "9")], "damaged", "contradiction"),
        ([LABEL.comment], [LABEL.aigc.replace('"1"', '"3"')], "damaged", "contradiction"),
        ([LABEL.comment], [LABEL.aigc.replace("Example", "E x")], "damaged", "contradiction"),
        ([LABEL.comment.replace("09:30", "x")], [LABEL.aigc], "damaged", "contradiction"),
    ],
)
def test_what_is_found_is_judged(
    comments: list[str], aigc: list[str], verdict: str, reason: str
) -> None:
    found = labels.read(comments, aigc)
    assert (found.verdict, found.reason) == (verdict, reason)
    assert (found.label is not None) == (verdict == "cosyhost")
