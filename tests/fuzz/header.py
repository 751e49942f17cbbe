"""`cosyhost inspect`: tags and labels of changed files, down to the sentences that are printed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from cosyhost import audio, inspect, tags
from cosyhost.labels import Label, read
from tests.fuzz.harness import Run, Target
from tests.fuzz.mutate import mutated

_LABEL = Label("espeak", True, "2025-11-03T09:30:00Z", "0b54a2f7c3de4f6f9a3b5b1f0c7a9e21", "Fuzz")


@cache
def seeds() -> list[bytes]:
    """A labelled file of each format."""
    formats = ("wav", "flac", "mp3", "opus")
    return [audio.encode(bytes(4_800), 24_000, form, _LABEL) for form in formats]


def _inspect(data: bytes) -> None:
    found = tags.read(io.BytesIO(data))
    reading = read(found.comments, found.aigc)
    for lang in inspect.LANGUAGES:
        for sentence in inspect.sentences(reading, lang):
            sentence.encode()


@contextmanager
def _open() -> Iterator[Run]:
    yield _inspect


TARGET = Target("header", lambda rng: mutated(rng, seeds()), _open)
