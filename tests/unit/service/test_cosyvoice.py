"""Upstream's known faults, each met: against the stand-in, which has them on purpose."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from cosyhost import config, engines
from cosyhost.engines import Speech
from cosyhost.engines.cosyvoice import CosyVoice, upstream
from cosyhost.engines.cosyvoice import engine as engine_module
from cosyhost.engines.cosyvoice.speakers import Speakers
from cosyhost.errors import Problem
from tests import prompts, standins

PREFIX = "You are a helpful assistant.<|endofprompt|>"
SECRET = "紫色长颈鹿"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> CosyVoice:
    engine = engines.create(standins.cosyvoice(tmp_path_factory.mktemp("model")))
    engine.load()
    return cast("CosyVoice", engine)


@pytest.fixture
def fresh(tmp_path: Path) -> CosyVoice:
    """One that a test may break."""
    engine = engines.create(standins.cosyvoice(tmp_path / "model"))
    engine.load()
    return cast("CosyVoice", engine)


@pytest.fixture(scope="module")
def wish(tmp_path_factory: pytest.TempPathFactory) -> Speech:
    path = tmp_path_factory.mktemp("prompt") / "prompt.wav"
    path.write_bytes(prompts.good())
    return Speech("zero_shot", "今天天气很好。", path, prompts.TRANSCRIPT, "请大声一点", 1.0, 1)


def model(engine: CosyVoice) -> Any:
    return engine._upstream.model


def spoken(engine: CosyVoice, wish: Speech, **changes: Any) -> npt.NDArray[np.int16]:
    return np.concatenate(list(engine.speak(dataclasses.replace(wish, **changes))))


def problem(engine: CosyVoice, wish: Speech, **changes: Any) -> Problem:
    with pytest.raises(Problem) as failed:
        spoken(engine, wish, **changes)
    return failed.value


def begun(
    engine: CosyVoice, wish: Speech, **changes: Any
) -> Generator[npt.NDArray[np.int16], None, None]:
    """A speech whose first sound has come."""
    chunks = engine.speak(dataclasses.replace(wish, **changes))
    while not len(next(chunks)):
        pass
    return chunks


def nothing_left(engine: CosyVoice) -> bool:
    tables = model(engine)
    entries = tables.tts_speech_token_dict, tables.llm_end_dict, tables.hift_cache_dict
    return engine._quiet() and not any(entries)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, loaded: CosyVoice) -> list[tuple[str, Any, Any]]:
    """What upstream is asked, on its way there."""
    noted: list[tuple[str, Any, Any]] = []

    def noting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            noted.append((name, args, named))
            return real(*args, **named)

        return call

    for name in ("zero_shot", "cross_lingual", "instruct2"):
        method = f"inference_{name}"
        real = getattr(loaded._upstream, method)
        monkeypatch.setattr(loaded._upstream, method, noting(name, real))
    return noted


# What upstream is asked


def test_zero_shot_has_its_prefix_before_the_transcript(
    loaded: CosyVoice, wish: Speech, calls: list[tuple[str, Any, Any]]
) -> None:
    spoken(loaded, wish)
    ((name, args, named),) = calls
    assert name == "zero_shot"
    assert args == (wish.text, PREFIX + prompts.TRANSCRIPT, str(wish.prompt_audio))
    assert named["stream"] is True


def test_cross_lingual_is_split_and_each_part_has_the_prefix(
    loaded: CosyVoice, wish: Speech, calls: list[tuple[str, Any, Any]]
) -> None:
    spoken(loaded, wish, mode="cross_lingual", text="今天天气很好，我们去公园。" * 15)
    assert len(calls) == 3
    for name, (segment, _), _named in calls:
        assert name == "cross_lingual"
        assert segment.startswith(PREFIX)
        assert segment.count("<|") == 1
        assert len(segment) < len(PREFIX) + 90


@pytest.mark.parametrize(
    ("instruction", "sent"),
    [
        ("请用四川话表达。", "请用四川话表达。"),
        ("请用四川话表达", "请用四川话表达。"),
        ("speak\n softly", "speak softly."),
    ],
)
def test_an_instruction_stands_between_role_and_mark(
    loaded: CosyVoice,
    wish: Speech,
    calls: list[tuple[str, Any, Any]],
    instruction: str,
    sent: str,
) -> None:
    spoken(loaded, wish, mode="instruct", instruction=instruction)
    ((name, args, _),) = calls
    assert name == "instruct2"
    assert args[1] == f"You are a helpful assistant. {sent}<|endofprompt|>"


def test_another_speed_is_made_in_one_piece(
    loaded: CosyVoice, wish: Speech, calls: list[tuple[str, Any, Any]]
) -> None:
    slow, fast = (spoken(loaded, wish, speed=speed) for speed in (0.5, 2.0))
    assert len(slow) == pytest.approx(4 * len(fast), rel=0.01)
    assert [named["stream"] for _, _, named in calls] == [False, False]


def test_a_sentence_without_end_is_cut(
    loaded: CosyVoice, wish: Speech, calls: list[tuple[str, Any, Any]]
) -> None:
    spoken(loaded, wish, text="好" * 300)
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"mode": "sing"}, "mode_unknown"),
        ({"prompt_text": " "}, "mode_needs_prompt_text"),
        ({"mode": "instruct", "instruction": ""}, "mode_needs_instructions"),
        ({"text": "。。。"}, "text_no_words"),
        ({"text": "a<|b|>c"}, "text_control_tokens"),
    ],
)
def test_what_upstream_would_choke_on_is_refused(
    loaded: CosyVoice, wish: Speech, changes: dict[str, str], code: str
) -> None:
    before = model(loaded).llm.inferences
    assert problem(loaded, wish, **changes).kind.code == code
    assert model(loaded).llm.inferences == before


# The first sound, the seed, the speakers


def test_the_first_chunk_is_as_short_after_a_long_job(loaded: CosyVoice, wish: Speech) -> None:
    first = len(next(chunk for chunk in loaded.speak(wish) if len(chunk)))
    spoken(loaded, wish, text="今天天气很好，我们去公园。" * 10)
    assert model(loaded).token_hop_len > 25
    assert len(next(chunk for chunk in loaded.speak(wish) if len(chunk))) == first


@pytest.mark.parametrize("speed", [1.0, 1.3])
def test_a_seed_decides_and_nothing_else(loaded: CosyVoice, wish: Speech, speed: float) -> None:
    long = dataclasses.replace(wish, text="今天天气很好，我们去公园。" * 12, speed=speed)
    first = spoken(loaded, long)
    loaded._speakers.forget()
    begun(loaded, wish, text="ENDLESS好", seed=99).close()
    np.random.seed(5)
    assert np.array_equal(spoken(loaded, long), first)
    assert not np.array_equal(spoken(loaded, long, seed=2), first)


def test_each_step_of_the_language_model_sees_all_before_it(
    loaded: CosyVoice, wish: Speech
) -> None:
    list(loaded.speak(wish))
    assert loaded._upstream.model.llm.llm.blind_steps == 0


def test_a_prompt_is_read_once(loaded: CosyVoice, wish: Speech, tmp_path: Path) -> None:
    spoken(loaded, wish)
    read = loaded._upstream.frontend.prompts_read
    copy = tmp_path / "other name.wav"
    copy.write_bytes(wish.prompt_audio.read_bytes())
    spoken(loaded, wish, prompt_audio=copy, text="再见。")
    assert loaded._upstream.frontend.prompts_read == read
    spoken(loaded, wish, prompt_text="别的话。")
    assert loaded._upstream.frontend.prompts_read == read + 1


def test_a_cached_speaker_still_hears_another_instruction(loaded: CosyVoice, wish: Speech) -> None:
    # ENDLESS in the instruction reaches the model only if the instruction does.
    calm = spoken(loaded, wish, mode="instruct", instruction="请小声。")
    long = spoken(loaded, wish, mode="instruct", instruction="请小声 ENDLESS。", text="好。")
    assert len(long) > 3 * len(calm)


def test_the_known_speakers_stay_within_their_memory(
    loaded: CosyVoice, wish: Speech, tmp_path: Path
) -> None:
    speakers = Speakers(loaded._upstream, limit_bytes=0)
    table = loaded._upstream.frontend.spk2info
    known = len(table)
    names = [speakers.know(wish.prompt_audio, f"{PREFIX}{number}") for number in range(5)]
    assert len(table) == known + 1
    assert names[-1] in table
    roomy = Speakers(loaded._upstream, limit_bytes=100_000_000)
    table = loaded._upstream.frontend.spk2info
    kept = [roomy.know(wish.prompt_audio, f"{PREFIX}{number}") for number in (1, 2, 1)]
    assert kept[0] == kept[2]
    roomy.forget()
    assert not {*kept} & {*table}


def test_nothing_is_written_into_the_model(loaded: CosyVoice, wish: Speech) -> None:
    spoken(loaded, wish)
    assert not (loaded._model_dir / "spk2info.pt").exists()


# Faults


@pytest.mark.parametrize("speed", [1.0, 1.5])
@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("LLMDIES", "engine_failed"),
        ("OUTOFMEMORY", "engine_out_of_memory"),
        ("NANSOUND", "engine_bad_sound"),
        ("ZEROTOKENSALWAYS", "engine_no_speech"),
    ],
)
def test_a_fault_is_an_error_and_the_next_job_is_spoken(
    loaded: CosyVoice, wish: Speech, word: str, code: str, speed: float
) -> None:
    failed = problem(loaded, wish, text=f"{SECRET}{word}", speed=speed)
    assert failed.kind.code == code
    assert SECRET not in str(failed)
    assert failed.__cause__ is None
    assert nothing_left(loaded)
    assert len(spoken(loaded, wish)) > 0


def test_a_missing_mark_is_an_error_and_no_hang(
    loaded: CosyVoice, wish: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosyhost.engines.cosyvoice.request._PREFIX", "")
    failed = problem(loaded, wish)
    assert failed.kind.code == "engine_failed"
    assert "AssertionError at llm.py" in str(failed)


def test_no_tokens_are_tried_again_with_another_seed(loaded: CosyVoice, wish: Speech) -> None:
    before = model(loaded).llm.inferences
    for seed in range(8):
        assert len(spoken(loaded, wish, text="ZEROTOKENS好", seed=seed)) > 0
        if model(loaded).llm.inferences > before + seed + 1:
            return
    pytest.fail("no seed had to be tried again")


def test_only_silence_is_short_and_no_error(loaded: CosyVoice, wish: Speech) -> None:
    assert 0 < len(spoken(loaded, wish, text="SILENT好")) <= 5 * 960


def test_after_a_full_gpu_nothing_of_the_speakers_is_held(fresh: CosyVoice, wish: Speech) -> None:
    spoken(fresh, wish)
    assert fresh._upstream.frontend.spk2info
    problem(fresh, wish, text="OUTOFMEMORY好")
    assert not fresh._upstream.frontend.spk2info


def test_a_dead_gpu_ends_the_engine(fresh: CosyVoice, wish: Speech) -> None:
    assert problem(fresh, wish, text="CUDADIES好").kind.code == "engine_lost"
    assert problem(fresh, wish).kind.code == "engine_lost"


def test_a_hang_is_given_up_and_ends_the_engine(
    fresh: CosyVoice, wish: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_STALL_S", 0.3)
    monkeypatch.setattr(engine_module, "_STOP_S", 0.1)
    assert problem(fresh, wish, text="HANGS好").kind.code == "engine_stalled"
    assert problem(fresh, wish).kind.code == "engine_lost"


@pytest.mark.parametrize("changes", [{}, {"speed": 1.5}, {"text": "SILENT ENDLESS 你好你好"}])
def test_a_closed_speech_ends_upstreams_threads(
    loaded: CosyVoice, wish: Speech, changes: dict[str, Any]
) -> None:
    threads = threading.active_count()
    chunks = cast(
        "Generator[object, None, None]",
        loaded.speak(dataclasses.replace(wish, **{"text": "ENDLESS 你好你好", **changes})),
    )
    for _ in range(3):  # before, or amid, the sound
        next(chunks)
    chunks.close()
    assert nothing_left(loaded)
    assert threading.active_count() <= threads


def test_while_nothing_is_ready_the_caller_may_look_around(loaded: CosyVoice, wish: Speech) -> None:
    sizes = [len(chunk) for chunk in loaded.speak(dataclasses.replace(wish, speed=0.9))]
    assert sizes[0] == 0
    assert sizes[-1] > 0


# Loading


def test_loading_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    program = f"""
import logging, sys
from pathlib import Path
from tests import standins
from cosyhost import engines
from cosyhost.engines import Speech
from cosyhost.engines.sound import write_vowel
engine = engines.create(standins.cosyvoice(Path({str(tmp_path)!r})))
engine.load()
assert logging.getLogger().level == logging.WARNING, logging.getLogger().level
hum = Path({str(tmp_path)!r}) / "hum.wav"
write_vowel(hum)
list(engine.speak(Speech("zero_shot", "{SECRET}", hum, "{SECRET}" * 30, "", 1.0, 1)))
list(engine.speak(Speech("zero_shot", "短", hum, "{SECRET}" * 30, "", 1.0, 1)))
logging.getLogger("ours").warning("heard")
"""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([".", "service"])},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = ran.stdout + ran.stderr
    assert "heard" in told
    assert SECRET not in told
    assert "it/s" not in told


def settings(folder: Path, acceleration: Any = "none") -> config.Engine:
    wanted = standins.cosyvoice(folder)
    return config.Engine(wanted.kind, wanted.model_dir, "", acceleration)


def refusal(wanted: config.Engine) -> Problem:
    with pytest.raises(Problem) as failed:
        engines.create(wanted).load()
    return failed.value


def test_a_missing_model_is_named_and_not_downloaded(tmp_path: Path) -> None:
    wanted = config.Engine("cosyvoice", str(tmp_path / "nowhere"), "", "none")
    failed = refusal(wanted)
    assert failed.kind.code == "engine_model_missing"
    assert "nowhere" in str(failed)


def test_a_half_there_model_is_named_file_by_file(tmp_path: Path) -> None:
    wanted = settings(tmp_path)
    (tmp_path / "flow.pt").unlink()
    (tmp_path / "hift.pt").unlink()
    assert refusal(wanted).figures["missing"] == "flow.pt, hift.pt"


def test_tensorrt_needs_its_file(tmp_path: Path) -> None:
    wanted = settings(tmp_path, "tensorrt")
    (tmp_path / "flow.decoder.estimator.fp32.onnx").unlink()
    assert "estimator" in refusal(wanted).figures["missing"]


@pytest.mark.parametrize("acceleration", ["fp16", "tensorrt"])
def test_acceleration_without_a_gpu_is_refused(tmp_path: Path, acceleration: str) -> None:
    if upstream.has_gpu():
        pytest.skip("there is one here")
    assert refusal(settings(tmp_path, acceleration)).kind.code == "engine_no_gpu"


def test_an_absent_upstream_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = settings(tmp_path)
    monkeypatch.setitem(sys.modules, "cosyvoice.cli.cosyvoice", None)
    assert refusal(wanted).kind.code == "engine_not_installed"


def test_an_upstream_that_has_changed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = settings(tmp_path)
    module = __import__("cosyvoice.cli.cosyvoice", fromlist=["CosyVoice3"])
    monkeypatch.delattr(module.CosyVoice3, "inference_instruct2")
    failed = refusal(wanted)
    assert failed.kind.code == "engine_not_loaded"
    assert "inference_instruct2" in str(failed)


@pytest.mark.parametrize("kind", ["cosyvoice", "vllm_omni"])
def test_settings_that_cannot_work_are_refused_when_read(kind: str) -> None:
    wanted = {"kind": kind, "model_dir": "models", "url": "", "acceleration": "none"}
    with pytest.raises(msgspec.ValidationError, match="engine"):
        msgspec.convert(wanted, config.Engine)


def test_sound_is_read_by_soundfile_where_torchaudio_is(wish: Speech) -> None:
    torchaudio = pytest.importorskip("torchaudio")
    upstream._read_sound_with_soundfile()
    samples, rate = torchaudio.load(str(wish.prompt_audio), backend="soundfile")
    assert samples.shape[0] == 1
    assert rate >= 16_000
