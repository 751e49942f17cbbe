"""Upstream's code and weights brought into this process, quietly and without a download.

Written for github.com/FunAudioLLM/CosyVoice at ace7c47f41bbd303aa6bf1ea80e6f9fbd595cd40.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from cosyhost.engines.cosyvoice.failures import is_out_of_memory
from cosyhost.errors import (
    ENGINE_MODEL_MISSING,
    ENGINE_NO_GPU,
    ENGINE_NOT_INSTALLED,
    ENGINE_NOT_LOADED,
    ENGINE_OUT_OF_MEMORY,
    Problem,
)

# What upstream opens without asking whether it is there.
_FILES = (
    "cosyvoice3.yaml",
    "llm.pt",
    "flow.pt",
    "hift.pt",
    "campplus.onnx",
    "speech_tokenizer_v3.onnx",
)
_TENSORRT_FILE = "flow.decoder.estimator.fp32.onnx"
# What the adapter takes hold of; a later upstream without one of them must not half work.
_NEEDED = (
    "frontend.spk2info",
    "frontend.text_normalize",
    "model.hift_cache_dict",
    "model.llm.inference",
    "model.llm.llm.forward_one_step",
    "model.llm_end_dict",
    "model.llm_job",
    "model.token_hop_len",
    "model.tts_speech_token_dict",
    "add_zero_shot_spk",
    "inference_cross_lingual",
    "inference_instruct2",
    "inference_zero_shot",
    "sample_rate",
)


def start(model_dir: Path, acceleration: str) -> Any:
    """Upstream's model object, loaded on the GPU, or on the CPU where there is none.

    Raises:
        Problem: ENGINE_MODEL_MISSING, ENGINE_NOT_INSTALLED, ENGINE_NO_GPU, ENGINE_OUT_OF_MEMORY or
            ENGINE_NOT_LOADED.
    """
    _check_model(model_dir, acceleration)
    # Given a name it cannot find, upstream asks a hub; so do its libraries.
    os.environ["HF_HUB_OFFLINE"] = "1"
    with _root_logger_kept():
        module = _imported()
        if acceleration != "none" and not has_gpu():
            raise Problem(ENGINE_NO_GPU, acceleration=acceleration)
        # The vocoder draws its fixed noise while it is made: every child must draw the same.
        seed_all(0)
        try:
            loaded = module.AutoModel(
                model_dir=str(model_dir),
                load_trt=acceleration == "tensorrt",
                fp16=acceleration == "fp16",
            )
        except Exception as error:
            if is_out_of_memory(error):
                raise Problem(ENGINE_OUT_OF_MEMORY) from error
            raise Problem(ENGINE_NOT_LOADED, reason=f"{type(error).__name__}: {error}") from error
    if missing := [name for name in _NEEDED if not _has(loaded, name)]:
        raise Problem(ENGINE_NOT_LOADED, reason=f"upstream lacks {', '.join(missing)}")
    _show_the_whole_context(loaded.model.llm.llm)
    _hush(module)
    return loaded


def seed_all(seed: int) -> None:
    """Seed every generator upstream draws from: torch's of the CPU and all GPUs, numpy's, random's.

    With the same seed, GPU model and library versions the speech tokens are the same; the sound is
    the same up to the rounding of GPU kernels, and on the CPU bit by bit.
    """
    seed %= 2**32
    random.seed(seed)
    np.random.seed(seed)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


def has_gpu() -> bool:
    """Whether upstream's torch sees a GPU."""
    torch = sys.modules.get("torch")
    return bool(torch and torch.cuda.is_available())


def free_memory() -> None:
    """Give the GPU memory that nobody holds back to the driver."""
    if has_gpu():
        sys.modules["torch"].cuda.empty_cache()


def _check_model(model_dir: Path, acceleration: str) -> None:
    needed = [*_FILES, *([_TENSORRT_FILE] if acceleration == "tensorrt" else [])]
    if missing := [name for name in needed if not (model_dir / name).is_file()]:
        raise Problem(ENGINE_MODEL_MISSING, path=model_dir, missing=", ".join(missing))


def _imported() -> Any:
    try:
        _read_sound_with_soundfile()
        module = importlib.import_module("cosyvoice.cli.cosyvoice")
    except (ImportError, OSError) as error:  # OSError: a library that does not fit the others
        raise Problem(ENGINE_NOT_INSTALLED, reason=error) from error
    return module


def _read_sound_with_soundfile() -> None:
    """Let `torchaudio.load` and `save` go through soundfile.

    Since 2.9 they need torchcodec and ignore `backend="soundfile"`, which is what upstream says.
    """
    try:
        torch: Any = importlib.import_module("torch")
        torchaudio: Any = importlib.import_module("torchaudio")
    except ModuleNotFoundError:
        return  # upstream's own import says what is missing

    def load(path: Any, *_: Any, **__: Any) -> tuple[Any, int]:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        return torch.from_numpy(np.ascontiguousarray(samples.T)), int(rate)

    def save(path: Any, samples: Any, rate: int, *_: Any, **__: Any) -> None:
        soundfile.write(path, samples.cpu().numpy().T, rate)

    torchaudio.load, torchaudio.save = load, save


@contextlib.contextmanager
def _root_logger_kept() -> Iterator[None]:
    """Upstream's import sets the root logger to DEBUG and gives it a handler."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


def _show_the_whole_context(encoder: Any) -> None:
    """Have each step of the language model see all that was said before.

    Upstream gives a step the mask of its one new position. transformers took ones of any length for
    "no mask" up to 4.52 and pads them with zeros since: then a step sees the first position and
    nothing else, and speaks gibberish (upstream #1446, #1824). So that it holds with either.
    """
    step = encoder.forward_one_step

    def forward_one_step(xs: Any, masks: Any, cache: Any = None) -> Any:
        if cache is not None and (known := cache.get_seq_length()):
            masks = masks.new_ones((1, xs.shape[1], known + xs.shape[1]))
        return step(xs, masks, cache)

    encoder.forward_one_step = forward_one_step


class _NotUpstream(logging.Filter):
    """Drops what upstream says through the root logger: it says the user's text."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = f"{folder}{os.sep}"

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.pathname.startswith(self._folder)


def _hush(module: Any) -> None:
    folder = Path(module.__file__).parents[1]
    logging.getLogger().addFilter(_NotUpstream(folder))
    # A progress bar over segments, to stderr.
    module.tqdm = iter


def _has(thing: Any, dotted: str) -> bool:
    for name in dotted.split("."):
        thing = getattr(thing, name, None)
        if thing is None:
            return False
    return True
