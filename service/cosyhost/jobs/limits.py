"""How long a job may take."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cosyhost.jobs.job import Job

# Written with one character a syllable, or with about three (see `time_limits`).
_SYLLABIC = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")
_LETTERS_A_SYLLABLE = 3
# The part of the bound that even one word gets: the prompt's features, a cold GPU, the store.
_BASE_SHARE = 0.25
_GRACE_S = 10


@dataclass(frozen=True)
class TimeLimits:
    """Seconds of one attempt: at `soft` the engine is asked to stop, at `hard` its child ends."""

    soft: int
    hard: int


def time_limits(job: Job, text_chars: int, bound_s: int) -> TimeLimits:
    """The limits of a job, from what there is to say.

    `bound_s` (the tier's job_time_limit_s) is what the longest text of `text_chars` may take; a
    quarter of it belongs to any text, the rest grows with the length of the speech. That length
    is counted in syllables: Mandarin has 5.18 a second, one character each, and English 6.19 a
    second (Pellegrino, Coupe and Marsico 2011, "A cross-language perspective on speech information
    rate", table 1) of about three letters, so a letter counts a third of a Chinese character.
    """
    syllabic = len(_SYLLABIC.findall(job.text))
    syllables = syllabic + (len(job.text) - syllabic) / _LETTERS_A_SYLLABLE
    share = min(1.0, syllables / job.speed / text_chars)
    hard = round(bound_s * (_BASE_SHARE + (1 - _BASE_SHARE) * share))
    return TimeLimits(soft=hard - min(_GRACE_S, hard // 4), hard=hard)
