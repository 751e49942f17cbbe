"""Prompt audio: good files are normalised, bad ones refused with their cure."""

from __future__ import annotations

import io

import pytest
import soundfile

from cosyhost import audio
from cosyhost.audio import keep_decoder_waiting, read_prompt
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


@pytest.mark.parametrize("name", prompts.HOSTILE)
def test_a_hostile_prompt_is_refused_with_its_cure(name: str) -> None:
    make, code = prompts.HOSTILE[name]
    with pytest.raises(Problem) as refused:
        read_prompt(make(), LIMIT)
    assert refused.value.kind.code == code


@pytest.mark.parametrize(("container", "subtype"), [("FLAC", None), ("OGG", "VORBIS")])
@pytest.mark.parametrize("share", [0.3, 0.66, 0.95])
def test_a_cut_compressed_prompt_is_refused(
    container: str, subtype: str | None, share: float
) -> None:
    data = prompts.encoded(*prompts.samples(), container, subtype)
    with pytest.raises(Problem) as refused:
        read_prompt(data[: int(len(data) * share)], LIMIT)
    assert refused.value.kind.code == "prompt_truncated"


def test_a_prompt_of_one_byte_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(Problem) as refused:
        read_prompt(prompts.of_size(LIMIT + 1), LIMIT)
    assert refused.value.kind.code == "prompt_too_large"


def test_a_wav_with_streamed_lengths_is_whole() -> None:
    data = bytearray(prompts.lasting(5))
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff\xff\xff\xff"
    assert read_prompt(bytes(data), LIMIT).seconds == pytest.approx(5, abs=0.01)


def test_pictures_and_playlists_are_not_known() -> None:
    assert not is_known(prompts.png())
    assert not is_known(b"#EXTM3U\nhttp://example.org/a.mp3\n")


@pytest.mark.parametrize(("container", "codec"), [("webm", "libopus"), ("ipod", "aac")])
def test_recordings_of_browsers_and_phones_are_read(container: str, codec: str) -> None:
    whole = prompts.filmed(container, codec)
    data, rate = prompts.samples()
    assert read_prompt(whole, LIMIT).seconds == pytest.approx(len(data) / rate, abs=0.1)
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(Problem) as refused:
            read_prompt(whole[: int(len(whole) * share)], LIMIT)
        assert refused.value.kind.code == "prompt_truncated"


@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_one_flipped_byte_in_a_flac_is_noticed(at: float) -> None:
    """libFLAC checks the CRC of every frame."""
    whole = bytearray(prompts.encoded(*prompts.samples(), "FLAC", "PCM_16"))
    whole[int(len(whole) * at)] ^= 0xFF
    with pytest.raises(Problem) as refused:
        read_prompt(bytes(whole), LIMIT)
    assert refused.value.kind.code == "prompt_truncated"


def test_a_waiting_decoder_answers_the_same_and_a_dead_one_is_replaced() -> None:
    cold = read_prompt(prompts.lasting(4), LIMIT)
    keep_decoder_waiting()
    waiting = audio.prompt._waiting
    assert read_prompt(prompts.lasting(4), LIMIT) == cold
    dead = waiting.get_nowait()
    dead.kill()
    dead.wait()
    waiting.put(dead)
    assert read_prompt(prompts.lasting(4), LIMIT) == cold
    with pytest.raises(Problem):
        read_prompt(prompts.noise_bytes(), LIMIT)
    assert read_prompt(prompts.lasting(4), LIMIT) == cold
    with waiting.get_nowait() as last:
        last.kill()
