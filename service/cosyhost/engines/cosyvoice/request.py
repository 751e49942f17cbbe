"""A job in the words upstream wants: its prompt, its segments, its method."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from cosyhost import text
from cosyhost.engines.interface import Speech
from cosyhost.engines.segments import bounded, filled
from cosyhost.engines.sound import check_prompt
from cosyhost.errors import (
    MODE_NEEDS_INSTRUCTIONS,
    MODE_NEEDS_PROMPT_TEXT,
    MODE_UNKNOWN,
    TEXT_NO_WORDS,
    Problem,
)

MODES = frozenset({"zero_shot", "cross_lingual", "instruct"})

# The model was trained with these words before everything (upstream example.py); without the mark
# its thread dies.
_ROLE = "You are a helpful assistant."
_MARK = "<|endofprompt|>"
_PREFIX = _ROLE + _MARK


def check(speech: Speech) -> None:
    """Refuse what upstream would answer with an assertion, a hang or a leak.

    Raises:
        Problem: MODE_*, TEXT_* or PROMPT_*.
    """
    if speech.mode not in MODES:
        raise Problem(MODE_UNKNOWN, mode=speech.mode)
    for words in (speech.text, speech.prompt_text, speech.instruction):
        text.refuse_control_tokens(words)
    if not text.has_words(speech.text):
        raise Problem(TEXT_NO_WORDS)
    if speech.mode == "zero_shot" and not text.has_words(speech.prompt_text):
        raise Problem(MODE_NEEDS_PROMPT_TEXT)
    if speech.mode == "instruct" and not text.has_words(speech.instruction):
        raise Problem(MODE_NEEDS_INSTRUCTIONS)
    check_prompt(speech.prompt_audio)


def prompt(speech: Speech) -> str:
    """What stands before the text: the transcript, or the instruction, or nothing."""
    if speech.mode == "zero_shot":
        return _PREFIX + _one_line(speech.prompt_text)
    if speech.mode == "instruct":
        return f"{_ROLE} {_sentence(_one_line(speech.instruction))}{_MARK}"
    return ""


def segments(speech: Speech, upstream: Any) -> Iterator[str]:
    """The text in portions, each for one call.

    In cross_lingual the prefix stands in the text itself, and upstream then neither normalises nor
    splits it. In the other modes upstream's own front end does both.

    Raises:
        Problem: TEXT_NO_WORDS when the front end leaves nothing to speak.
    """
    if speech.mode == "cross_lingual":
        portions = filled(speech.text)
    else:
        portions = bounded(_normalized(speech.text, upstream))
    empty = True
    for portion in portions:
        empty = False
        yield _PREFIX + portion if speech.mode == "cross_lingual" else portion
    if empty:
        raise Problem(TEXT_NO_WORDS)


def call(speech: Speech, upstream: Any, segment: str, speaker: str) -> Iterator[dict[str, Any]]:
    """Upstream's iterator for one segment: `{"tts_speech": float32 tensor [1, samples]}`.

    It streams, except at another speed than 1, which upstream does in one piece only.
    """
    named = {
        "zero_shot_spk_id": speaker,
        "stream": speech.speed == 1.0,
        "speed": speech.speed,
        "text_frontend": False,
    }
    path = str(speech.prompt_audio)
    made: Iterator[dict[str, Any]]
    if speech.mode == "zero_shot":
        made = upstream.inference_zero_shot(segment, prompt(speech), path, **named)
    elif speech.mode == "instruct":
        made = upstream.inference_instruct2(segment, prompt(speech), path, **named)
    else:
        made = upstream.inference_cross_lingual(segment, path, **named)
    return made


def _normalized(words: str, upstream: Any) -> list[str]:
    try:
        return list(upstream.frontend.text_normalize(words, split=True))
    except IndexError:  # it looks at the last character of what is left, and none is
        raise Problem(TEXT_NO_WORDS) from None


def _one_line(words: str) -> str:
    return re.sub(r"\s+", " ", words).strip()


def _sentence(words: str) -> str:
    """With a full stop, as all instructions of the training had."""
    if text.has_words(words[-1:]):
        return words + ("." if words[-1].isascii() else "。")
    return words
