"""What upstream raises, as problems a person can act on; never with the user's text in them."""

from __future__ import annotations

import traceback
from pathlib import Path

from cosyhost.errors import ENGINE_FAILED, ENGINE_LOST, ENGINE_OUT_OF_MEMORY, Problem

# torch, cuBLAS and onnxruntime each have words of their own for it.
_OUT_OF_MEMORY = ("out of memory", "ALLOC_FAILED", "Failed to allocate memory")
# After these every later call in the process fails too.
_CONTEXT_LOST = ("CUDA error", "CUDNN_STATUS_EXECUTION_FAILED", "device-side assert")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the GPU had no memory left."""
    named = any(base.__name__ == "OutOfMemoryError" for base in type(error).__mro__)
    return named or any(words in str(error) for words in _OUT_OF_MEMORY)


def problem_of(error: BaseException) -> Problem:
    """The problem an exception of upstream's stands for.

    Of an unknown one only the type and the place are told: its message may quote the text.
    """
    if isinstance(error, Problem):
        return error
    if is_out_of_memory(error):
        return Problem(ENGINE_OUT_OF_MEMORY)
    lost = any(words in str(error) for words in _CONTEXT_LOST)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return Problem(ENGINE_LOST if lost else ENGINE_FAILED, reason=type(error).__name__ + place)
