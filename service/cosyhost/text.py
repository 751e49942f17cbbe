"""Text to be spoken: what may be sent to an engine, and how it is cut into segments."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from cosyhost.errors import (
    TEXT_CONTROL_TOKENS,
    TEXT_EMPTY,
    TEXT_NO_WORDS,
    TEXT_TOO_LONG,
    Problem,
)

# CosyVoice3 obeys such marks in its input and skips normalisation and splitting when it sees one.
_CONTROL_TOKEN = re.compile(r"<\|.*?\|>|<\||\|>", re.DOTALL)
_SENTENCE_END = re.compile(r"(?<=[。！？；…!?;\n])|(?<=\.)(?=\s)")
_CLAUSE_END = re.compile(r"(?<=[，、,:：\s])")


def check(text: str, limit_chars: int) -> str:
    """Return `text` trimmed and in Unicode form NFC, fit to be spoken.

    Raises:
        Problem: TEXT_EMPTY, TEXT_NO_WORDS, TEXT_CONTROL_TOKENS or TEXT_TOO_LONG.
    """
    text = unicodedata.normalize("NFC", text).strip()
    if not text:
        raise Problem(TEXT_EMPTY)
    refuse_control_tokens(text)
    if len(text) > limit_chars:
        raise Problem(TEXT_TOO_LONG, characters=len(text), limit=limit_chars)
    if not has_words(text):
        raise Problem(TEXT_NO_WORDS)
    return text


def has_words(text: str) -> bool:
    """Whether there is a letter or a digit to be spoken."""
    return any(unicodedata.category(char)[0] in "LN" for char in text)


def complete_sentences(text: str) -> tuple[list[str], str]:
    """The sentences of a growing text that have ended, and what may still go on."""
    *complete, rest = _SENTENCE_END.split(text)
    return complete, rest


def refuse_control_tokens(text: str) -> None:
    """Raise TEXT_CONTROL_TOKENS if `text` could speak to the model in its own marks."""
    if found := _CONTROL_TOKEN.search(text):
        raise Problem(TEXT_CONTROL_TOKENS, token=found.group()[:40])


def split(text: str, limit_chars: int = 80) -> Iterator[str]:
    """Cut `text` into segments of at most `limit_chars`, at sentence ends where it can.

    80 is the length at which upstream itself cuts. Every yielded segment holds a letter or digit;
    joined without spaces at the cuts they give back all of them.
    """
    for sentence in _SENTENCE_END.split(text):
        for segment in _fit(sentence.strip(), limit_chars):
            if has_words(segment):
                yield segment


def _fit(sentence: str, limit: int) -> Iterator[str]:
    """Cut a sentence longer than `limit` at clause ends, and a longer clause anywhere."""
    segment = ""
    for clause in _CLAUSE_END.split(sentence):
        while len(clause) > limit:
            if segment:
                yield segment.strip()
                segment = ""
            yield clause[:limit]
            clause = clause[limit:]
        if len(segment) + len(clause) > limit:
            yield segment.strip()
            segment = ""
        segment += clause
    if segment.strip():
        yield segment.strip()
