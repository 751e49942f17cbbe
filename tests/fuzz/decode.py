"""The decoder's own code on changed WAV, FLAC, Ogg, MP3, WebM and MP4 files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from cosyhost.audio.decode import decode
from tests import prompts
from tests.fuzz.harness import Run, Target
from tests.fuzz.mutate import mutated


@cache
def seeds() -> list[bytes]:
    """A prompt in each container, and small files, which most changes reach."""
    sound, rate = prompts.samples()
    forms = (("WAV", "PCM_16"), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None))
    return [
        *(
            prompts.encoded(part, rate if subtype != "OPUS" else 24_000, form, subtype)
            for form, subtype in forms
            for part in (sound[: rate // 8], sound)
        ),
        prompts.filmed("webm", "libopus"),
        prompts.filmed("ipod", "aac"),
        prompts.flac_bomb(1),
    ]


@contextmanager
def _open() -> Iterator[Run]:
    import av

    av.logging.set_level(av.logging.PANIC)
    yield lambda data: void(decode(data))


def void(_: object) -> None:
    """Nothing is asked of what comes out, but that it comes."""


TARGET = Target("decode", lambda rng: mutated(rng, seeds()), _open)
