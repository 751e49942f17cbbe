"""The last touch on a model's sound: no clicks, no NaN, no change of loudness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from cosyhost.engines.sound import Finish, check_prompt, write_vowel
from cosyhost.errors import Problem

RATE = 24_000
FADE = RATE // 200


def finished(samples: npt.NDArray[np.float32], *cuts: int) -> npt.NDArray[np.int16]:
    finish = Finish(RATE)
    parts = [finish.add(part) for part in np.split(samples, cuts)]
    return np.concatenate([*parts, finish.end()])


def test_both_ends_fade_and_the_middle_is_as_loud_as_it_came() -> None:
    sound = finished(np.full(RATE, 0.5, dtype=np.float32))
    assert len(sound) == RATE
    assert sound[0] == sound[-1] == 0
    assert (np.diff(sound[:FADE]) > 0).all()
    assert (np.diff(sound[-FADE:]) < 0).all()
    assert (sound[FADE:-FADE] == 16384).all()


@pytest.mark.parametrize("cuts", [(1, 2, 3), (100, 130, 300), (5000,), (23_990,), (0, 0)])
def test_where_the_chunks_were_cut_is_not_heard(cuts: tuple[int, ...]) -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, RATE).astype(np.float32)
    assert (finished(samples, *cuts) == finished(samples)).all()


@pytest.mark.parametrize("length", [1, 50, FADE, FADE + 1, 2 * FADE, 2 * FADE + 1])
def test_a_sound_shorter_than_its_fades_is_kept(length: int) -> None:
    sound = finished(np.ones(length, dtype=np.float32))
    assert len(sound) == length
    assert sound[-1] == 0


def test_too_loud_is_clipped_and_not_wrapped() -> None:
    sound = finished(np.tile(np.array([1.5, -1.5], dtype=np.float32), 500))
    assert sound[FADE:-FADE].max() == 32767
    assert sound[FADE:-FADE].min() == -32768


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    samples = np.zeros(1000, dtype=np.float32)
    samples[900] = value
    with pytest.raises(Problem) as refused:
        finished(samples)
    assert refused.value.kind.code == "engine_bad_sound"


def test_no_sound_at_all_is_said() -> None:
    with pytest.raises(Problem) as refused:
        finished(np.zeros(0, dtype=np.float32))
    assert refused.value.kind.code == "engine_no_speech"


@pytest.mark.parametrize(
    ("seconds", "rate", "code"),
    [
        (0.02, RATE, "prompt_too_short"),
        (30.01, RATE, "prompt_too_long"),
        (5, 8000, "prompt_low_rate"),
    ],
)
def test_a_prompt_no_engine_can_read_is_refused(
    tmp_path: Path, seconds: float, rate: int, code: str
) -> None:
    path = tmp_path / "p.wav"
    soundfile.write(path, np.zeros(int(seconds * rate)), rate)
    with pytest.raises(Problem) as refused:
        check_prompt(path)
    assert refused.value.kind.code == code


def test_thirty_seconds_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "p.wav"
    soundfile.write(path, np.zeros(30 * 48_000), 48_000)
    check_prompt(path)


def test_the_hum_of_the_warm_up_is_a_prompt(tmp_path: Path) -> None:
    path = tmp_path / "hum.wav"
    write_vowel(path)
    check_prompt(path)
    samples, _ = soundfile.read(path)
    assert 0.1 < np.abs(samples).max() < 1
