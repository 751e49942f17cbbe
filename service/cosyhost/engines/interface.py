"""What every engine takes and gives."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Speech:
    """What is to be spoken, and like whom.

    `text` passed `text.check`; `prompt_audio` is a checked mono WAV of 3 to 30 s at 16 kHz or more.
    `speed` is 1.0 for the natural pace. The same `seed` gives the same sound.
    """

    mode: str
    text: str
    prompt_audio: Path
    prompt_text: str
    instruction: str
    speed: float
    seed: int


class Engine(Protocol):
    """One loaded model in one process; it speaks one job at a time."""

    name: str
    preview: bool
    """True when the engine does not clone: shown in the page, headers, metrics and file tags."""
    sample_rate: int
    modes: frozenset[str]
    """The modes it can do; a worker takes no job of another."""

    def load(self) -> None:
        """Load the model and prove with a short synthesis that it answers.

        Raises:
            Problem: an ENGINE_* kind that says what is missing.
        """

    def speak(self, speech: Speech) -> Generator[npt.NDArray[np.int16], None, None]:
        """Yield chunks of mono PCM, shape [samples], at `sample_rate` Hz, as they are made.

        While nothing is ready a chunk of no samples comes every 0.05 s, so that the caller can see
        whether the job is still wanted. Closing the generator stops the synthesis; 0.1 s later the
        GPU is free.

        Raises:
            Problem: a refusal of what is asked (TEXT_*, MODE_*, PROMPT_*, MODE_UNAVAILABLE);
                ENGINE_OUT_OF_MEMORY, with the memory freed again; ENGINE_LOST, after which only a
                new process helps; or another ENGINE_* kind.
        """
