"""The preview engine speaks, follows the prompt's pitch, and stops when told to."""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from cosyhost import config, engines
from cosyhost.engines import Engine, Speech
from cosyhost.engines.pitch import median_pitch

ESPEAK = config.Engine(kind="espeak", model_dir="", url="", acceleration="none")


@pytest.fixture(scope="module")
def engine() -> Engine:
    loaded = engines.create(ESPEAK)
    loaded.load()
    return loaded


def tone(path: Path, hertz: float) -> Path:
    """A prompt with the pitch of a voice: harmonics of one fundamental."""
    times = np.arange(5 * 24_000) / 24_000
    harmonics = range(1, 8)
    sound = sum(np.sin(2 * np.pi * hertz * n * times) / n for n in harmonics)
    soundfile.write(path, np.asarray(sound) / 4, 24_000)
    return path


def speech(prompt_audio: Path, text: str, *, instruction: str = "", speed: float = 1.0) -> Speech:
    return Speech(
        mode="instruct" if instruction else "cross_lingual",
        text=text,
        prompt_audio=prompt_audio,
        prompt_text="",
        instruction=instruction,
        speed=speed,
        seed=0,
    )


def spoken(engine: Engine, wish: Speech) -> npt.NDArray[np.int16]:
    return np.concatenate(list(engine.speak(wish)))


@pytest.mark.parametrize("hertz", [90.0, 120.0, 180.0, 260.0])
def test_the_prompts_pitch_is_followed(engine: Engine, tmp_path: Path, hertz: float) -> None:
    wish = speech(tone(tmp_path / "p.wav", hertz), "今天天气很好，我们一起去公园散步吧。")
    samples = (spoken(engine, wish) / 32768).astype(np.float32)
    assert median_pitch(samples, engine.sample_rate) == pytest.approx(hertz, rel=0.2)


def test_slow_lasts_longer_than_fast(engine: Engine, tmp_path: Path) -> None:
    prompt = tone(tmp_path / "p.wav", 120)
    text = "One sentence with a few words in it."
    lengths = [len(spoken(engine, speech(prompt, text, speed=s))) for s in (0.5, 1.0, 2.0)]
    assert lengths == sorted(lengths, reverse=True)
    told = spoken(engine, speech(prompt, text, instruction="请慢一点。"))
    assert len(told) > lengths[1]


@pytest.mark.parametrize(
    "text",
    ["你好，世界。", "こんにちは。", "안녕하세요.", "Привет.", "Hello.", "中文 and English。"],
)
def test_every_script_is_spoken(engine: Engine, tmp_path: Path, text: str) -> None:
    samples = spoken(engine, speech(tone(tmp_path / "p.wav", 120), text))
    assert len(samples) > engine.sample_rate // 3
    assert np.abs(samples).max() > 3000


def test_it_is_deterministic(engine: Engine, tmp_path: Path) -> None:
    wish = speech(tone(tmp_path / "p.wav", 120), "The same. Again.")
    assert spoken(engine, wish).tobytes() == spoken(engine, wish).tobytes()


def test_closing_the_iterator_ends_the_process(engine: Engine, tmp_path: Path) -> None:
    # One segment whose sound is more than a pipe holds: its process must still be there.
    wish = speech(tone(tmp_path / "p.wav", 120), "word " * 15, speed=0.5)
    with closing(cast("Generator[object, None, None]", engine.speak(wish))) as chunks:
        next(chunks)
        assert _espeak_children() == 1
    assert _espeak_children() == 0


def _espeak_children() -> int:
    children = Path("/proc/self/task").glob("*/children")
    pids = " ".join(path.read_text() for path in children).split()
    return sum("espeak" in Path(f"/proc/{pid}/comm").read_text() for pid in pids)


def test_a_silent_prompt_has_no_pitch() -> None:
    assert median_pitch(np.zeros(24_000, dtype=np.float32), 24_000) is None


def test_output_of_engine_is_what_the_interface_says(engine: Engine, tmp_path: Path) -> None:
    chunk = next(iter(engine.speak(speech(tone(tmp_path / "p.wav", 120), "Hello."))))
    assert chunk.dtype == np.int16
    assert chunk.ndim == 1
    soundfile.write(io.BytesIO(), chunk, engine.sample_rate, format="WAV")
