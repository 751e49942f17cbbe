"""Prompt audio: good files are normalised, bad ones refused with their cure."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
import soundfile

from cosyhost.audio import read_prompt
from cosyhost.audio.decode import is_known
from cosyhost.errors import Problem
from tests import prompts

LIMIT = 10_000_000


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", None), ("OGG", "VORBIS"), ("MP3", None)],
)
def test_a_good_prompt_of_any_format_becomes_a_mono_wav(
    container: str, subtype: str | None
) -> None:
    data, rate = prompts.samples()
    stereo = data.repeat(2).reshape(-1, 2)
    prompt = read_prompt(prompts.encoded(stereo, rate, container, subtype), LIMIT)
    with soundfile.SoundFile(io.BytesIO(prompt.wav)) as file:
        assert (file.channels, file.samplerate, file.subtype) == (1, rate, "PCM_16")
        assert file.frames / rate == pytest.approx(len(data) / rate, abs=0.1)
    assert prompt.seconds == pytest.approx(len(data) / rate, abs=0.1)


def test_the_same_sound_has_the_same_name() -> None:
    as_wav = read_prompt(prompts.lasting(5), LIMIT)
    data, rate = soundfile.read(io.BytesIO(prompts.lasting(5)), dtype="int16")
    as_flac = read_prompt(prompts.encoded(data, rate, "FLAC", "PCM_16"), LIMIT)
    assert as_wav.sha256 == as_flac.sha256


@pytest.mark.parametrize("name", sorted(prompts.bad_prompts()))
def test_a_bad_prompt_is_refused_with_its_cure(name: str) -> None:
    data, code = prompts.bad_prompts()[name]
    with pytest.raises(Problem) as refused:
        read_prompt(data, LIMIT)
    problem = refused.value
    assert problem.kind.code == code
    assert problem.sentence("zh") != problem.sentence("en")


@pytest.mark.parametrize(("container", "subtype"), [("FLAC", None), ("OGG", "VORBIS")])
def test_a_cut_compressed_prompt_is_refused(container: str, subtype: str | None) -> None:
    data = prompts.encoded(*prompts.samples(), container, subtype)
    with pytest.raises(Problem) as refused:
        read_prompt(data[: len(data) * 2 // 3], LIMIT)
    assert refused.value.kind.code in {"prompt_truncated", "prompt_not_audio"}


def test_a_prompt_of_one_byte_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(Problem) as refused:
        read_prompt(prompts.of_size(LIMIT + 1), LIMIT)
    assert refused.value.kind.code == "prompt_too_large"


def test_an_hour_in_a_small_file_is_refused_in_bounded_memory() -> None:
    data, rate = prompts.samples()
    hour = prompts.encoded((data * 0).repeat(3600 * rate // len(data) + 1), rate, "FLAC")
    assert len(hour) < LIMIT
    with pytest.raises(Problem) as refused:
        read_prompt(hour, LIMIT)
    assert refused.value.kind.code == "prompt_too_long"


def test_a_wav_with_streamed_lengths_is_whole() -> None:
    data = bytearray(prompts.lasting(5))
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff\xff\xff\xff"
    assert read_prompt(bytes(data), LIMIT).seconds == pytest.approx(5, abs=0.01)


def test_pictures_and_playlists_are_not_known() -> None:
    assert not is_known(prompts.png())
    assert not is_known(b"#EXTM3U\nhttp://example.org/a.mp3\n")


def filmed(container: str, codec: str) -> bytes:
    """The prompt as a phone or a browser records it."""
    data, rate = prompts.samples()
    times = np.arange(int(len(data) * 48_000 / rate)) * rate / 48_000
    sound = np.interp(times, np.arange(len(data)), data).astype(np.float32)
    target = io.BytesIO()
    with av.open(target, "w", format=container) as file:
        stream = file.add_stream(codec, rate=48_000)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        size = stream.codec_context.frame_size
        shape = av.AudioResampler(format=stream.format.name, layout="mono", frame_size=size)
        for part in [*shape.resample(frame), *shape.resample(None), None]:
            file.mux(stream.encode(part))
    return target.getvalue()


@pytest.mark.parametrize(("container", "codec"), [("webm", "libopus"), ("ipod", "aac")])
def test_recordings_of_browsers_and_phones_are_read(container: str, codec: str) -> None:
    whole = filmed(container, codec)
    data, rate = prompts.samples()
    assert read_prompt(whole, LIMIT).seconds == pytest.approx(len(data) / rate, abs=0.1)
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(Problem) as refused:
            read_prompt(whole[: int(len(whole) * share)], LIMIT)
        assert refused.value.kind.code == "prompt_truncated"


def test_a_cut_mp3_is_refused() -> None:
    whole = prompts.encoded(*prompts.samples(), "MP3")
    with pytest.raises(Problem) as refused:
        read_prompt(whole[: len(whole) // 2], LIMIT)
    assert refused.value.kind.code == "prompt_truncated"


@pytest.mark.parametrize(
    ("rate", "channels", "code"),
    [(1_000, 1, "prompt_low_rate"), (768_000, 1, "prompt_unusual"), (48_000, 32, "prompt_unusual")],
)
def test_odd_shapes_are_refused(rate: int, channels: int, code: str) -> None:
    odd = prompts.wav(np.zeros((rate // 10, channels), dtype=np.float32), rate)
    with pytest.raises(Problem) as refused:
        read_prompt(odd, LIMIT)
    assert refused.value.kind.code == code


def test_one_flipped_byte_in_a_flac_is_noticed_or_harmless() -> None:
    """libFLAC checks every frame's CRC; a byte outside the frames changes no sound."""
    whole = bytearray(prompts.encoded(*prompts.samples(), "FLAC", "PCM_16"))
    whole[len(whole) // 2] ^= 0xFF
    with pytest.raises(Problem) as refused:
        read_prompt(bytes(whole), LIMIT)
    assert refused.value.kind.code in {"prompt_truncated", "prompt_not_audio"}
