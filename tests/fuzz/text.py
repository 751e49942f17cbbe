"""Texts as users, scripts and attackers write them: checks, sentences, segments."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

from cosyhost import text
from tests.fuzz.harness import Run, Target

LIMIT = 500
_PIECES = (
    *("今天天气很好", "hello", "3.14", "。", "！", "?", ".", " ", "\n", "，", ",", "\0", "\u202e"),
    *("<|", "|>", "<|endofprompt|>", "\u0301", "\u200d", "👩\u200d👧", "\ufeff", "\U000e0041", "ﬁ"),
    *("א", "ة", "\r", "…", ";", "[laughter]", "<strong>", "가", "\u1100\u1161"),
)


def make(rng: random.Random) -> bytes:
    """A text as UTF-8, sometimes far beyond the limit."""
    count = rng.choice((1, 3, 10, 60, 60, 2000))
    parts = [
        rng.choice(_PIECES) if rng.random() < 0.8 else chr(rng.randrange(1, 0x110000))
        for _ in range(rng.randint(0, count))
    ]
    return "".join(parts).encode("utf-8", "surrogatepass")


def _spoken(said: str) -> list[str]:
    return [char for char in said if text.has_words(char)]


def _check(data: bytes) -> None:
    given = data.decode("utf-8", "surrogatepass")
    complete, rest = text.complete_sentences(given)
    assert "".join(complete) + rest == given
    checked = text.check(given, LIMIT)
    segments = list(text.split(checked))
    assert all(0 < len(segment) <= 80 for segment in segments), segments
    assert _spoken("".join(segments)) == _spoken(checked), "letters were lost"


@contextmanager
def _open() -> Iterator[Run]:
    yield _check


TARGET = Target("text", make, _open)
