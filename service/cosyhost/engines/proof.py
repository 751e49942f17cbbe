"""The proof that a loaded engine speaks: a whole sentence, not a load."""

from __future__ import annotations

import tempfile
from pathlib import Path

from cosyhost.audio.sample import SENTENCE, sample_prompt
from cosyhost.engines.interface import Engine, Speech
from cosyhost.errors import ENGINE_FAILED, Problem

# Shorter than anybody says it, in seconds.
_TOO_SHORT_S = 0.5


def prove(engine: Engine) -> float:
    """Let a loaded engine speak a sentence with a prompt of nobody's voice; returns its seconds.

    Raises:
        Problem: ENGINE_FAILED.
    """
    with tempfile.NamedTemporaryFile(suffix=".wav") as prompt:
        prompt.write(sample_prompt())
        prompt.flush()
        speech = Speech(
            # The prompt is no speech: the mode that needs none is asked for where there is one.
            mode="cross_lingual" if "cross_lingual" in engine.modes else "zero_shot",
            text=SENTENCE,
            prompt_audio=Path(prompt.name),
            prompt_text="啊。",
            instruction="",
            speed=1.0,
            seed=1,
        )
        chunks = list(engine.speak(speech))
    seconds = sum(len(chunk) for chunk in chunks) / engine.sample_rate
    if seconds < _TOO_SHORT_S or not any(chunk.any() for chunk in chunks):
        raise Problem(ENGINE_FAILED, reason=f"{seconds:.1f} s of sound for a whole sentence")
    return seconds
