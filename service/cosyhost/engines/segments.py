"""Text in portions that a model speaks well: not a word alone, and not a page at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cosyhost import text

# A text token is about one Chinese character or four Latin letters.
_LETTER = 0.25
_FULL = 80.0
"""Tokens of a full segment: where upstream itself cuts (frontend.py, token_max_n)."""
_TOO_LONG = 160.0
"""From here on cut even a sentence without a comma: speech and prompt must stay below 300 s."""


def filled(words: str) -> Iterator[str]:
    """Sentences joined to segments of at most 80 tokens; a short one alone sounds poor."""
    held = ""
    for piece in text.split(words):
        joined = _join(held, piece)
        if held and _tokens(joined) > _FULL:
            yield held
            held = piece
        else:
            held = joined
    if held:
        yield held


def bounded(segments: Iterable[str]) -> Iterator[str]:
    """The segments, with those cut again that have more than 160 tokens."""
    for segment in segments:
        if _tokens(segment) > _TOO_LONG:
            yield from filled(segment)
        elif text.has_words(segment):
            yield segment


def _join(left: str, right: str) -> str:
    spaced = left and right and left[-1].isascii() and right[0].isascii()
    return f"{left} {right}" if spaced else left + right


def _tokens(words: str) -> float:
    return sum(_LETTER if ord(char) < 0x2E80 else 1.0 for char in words)
