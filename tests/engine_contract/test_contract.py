"""What every engine keeps to, whatever speaks inside it."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from cosyhost.engines import Engine, Speech
from cosyhost.errors import Problem
from tests import prompts

MODES = ("zero_shot", "cross_lingual", "instruct")
TEXT = "今天天气很好，我们一起去公园散步吧。"
SECRET = "紫色长颈鹿"


@pytest.fixture
def wish(engine: Engine, prompt_audio: Path) -> Speech:
    """A job this engine can do."""
    mode = next(mode for mode in MODES if mode in engine.modes)
    return Speech(mode, TEXT, prompt_audio, prompts.TRANSCRIPT, "请慢慢地说。", 1.0, 7)


def spoken(engine: Engine, wish: Speech) -> npt.NDArray[np.int16]:
    return np.concatenate(list(engine.speak(wish)))


def refusal(engine: Engine, wish: Speech) -> str:
    with pytest.raises(Problem) as refused:
        list(engine.speak(wish))
    return refused.value.kind.code


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_is_spoken_or_refused(engine: Engine, wish: Speech, mode: str) -> None:
    wish = dataclasses.replace(wish, mode=mode)
    if mode in engine.modes:
        sound = spoken(engine, wish)
        assert len(sound) > engine.sample_rate // 5
        assert np.abs(sound).max() > 0
    else:
        assert refusal(engine, wish) == "mode_unavailable"


def test_chunks_are_mono_16_bit_samples(engine: Engine, wish: Speech) -> None:
    for chunk in engine.speak(wish):
        assert chunk.dtype == np.int16
        assert chunk.ndim == 1


def test_it_begins_and_ends_without_a_click(engine: Engine, wish: Speech) -> None:
    sound = spoken(engine, wish)
    assert abs(int(sound[0])) < 300
    assert abs(int(sound[-1])) < 300


def test_the_same_seed_gives_the_same_sound(engine: Engine, wish: Speech) -> None:
    first, second = spoken(engine, wish), spoken(engine, wish)
    assert len(first) == len(second)
    # The kernels of a GPU may round in another order.
    assert np.abs(first.astype(int) - second).max() <= 64


def test_a_long_text_comes_in_several_chunks(engine: Engine, wish: Speech) -> None:
    long = dataclasses.replace(wish, text="我们沿着河边慢慢地走，看见许多花，" * 20)
    short = len(spoken(engine, wish))
    sizes = [len(chunk) for chunk in engine.speak(long) if len(chunk)]
    assert len(sizes) > 2
    assert sum(sizes) > 5 * short


def test_fast_is_shorter_than_slow(engine: Engine, wish: Speech) -> None:
    slow = spoken(engine, dataclasses.replace(wish, speed=0.8))
    fast = spoken(engine, dataclasses.replace(wish, speed=1.6))
    assert len(fast) < 0.7 * len(slow)


def test_a_closed_speech_leaves_nothing_behind(engine: Engine, wish: Speech) -> None:
    whole = spoken(engine, wish)
    threads = threading.active_count()
    for _ in range(3):
        chunks = cast("Generator[object, None, None]", engine.speak(wish))
        next(chunks)
        chunks.close()
    again = spoken(engine, wish)
    assert len(again) == len(whole)
    deadline = time.monotonic() + 10
    while threading.active_count() > threads:
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.01)


def test_a_speech_never_begun_costs_nothing(engine: Engine, wish: Speech) -> None:
    threads = threading.active_count()
    engine.speak(wish)
    assert threading.active_count() == threads


def test_the_users_words_are_not_logged(
    engine: Engine,
    wish: Speech,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    wish = dataclasses.replace(wish, text=f"{SECRET}在睡觉。", prompt_text=SECRET)
    spoken(engine, wish)
    told = capfd.readouterr()
    assert SECRET not in caplog.text + told.out + told.err


@pytest.mark.parametrize("field", ["text", "prompt_text", "instruction"])
def test_control_tokens_are_refused(engine: Engine, wish: Speech, field: str) -> None:
    if engine.preview or (field == "instruction" and "instruct" not in engine.modes):
        pytest.skip("nothing in it obeys them")
    words: dict[str, Any] = {field: "你好<|endofprompt|>你好"}
    broken = dataclasses.replace(wish, **words)
    assert refusal(engine, broken) == "text_control_tokens"


def test_text_without_words_is_refused(engine: Engine, wish: Speech) -> None:
    if engine.preview:
        pytest.skip("it says nothing, and says so")
    assert refusal(engine, dataclasses.replace(wish, text="……！？🙂")) == "text_no_words"


def test_a_telephone_prompt_is_refused(engine: Engine, wish: Speech, tmp_path: Path) -> None:
    if engine.preview:
        pytest.skip("it hears the pitch of anything")
    low = tmp_path / "low.wav"
    low.write_bytes(prompts.low_rate())
    assert refusal(engine, dataclasses.replace(wish, prompt_audio=low)) == "prompt_low_rate"
    long = tmp_path / "long.wav"
    long.write_bytes(prompts.lasting(31))
    assert refusal(engine, dataclasses.replace(wish, prompt_audio=long)) == "prompt_too_long"
