"""The engine itself: one loaded model that speaks one job at a time, and lets go at once."""

from __future__ import annotations

import contextlib
import gc
import logging
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from cosyhost import config
from cosyhost.engines.aside import Aside
from cosyhost.engines.cosyvoice import request, upstream
from cosyhost.engines.cosyvoice.failures import problem_of
from cosyhost.engines.cosyvoice.speakers import Speakers
from cosyhost.engines.cosyvoice.watch import NoTokens, Watch
from cosyhost.engines.interface import Speech
from cosyhost.engines.sound import NO_SAMPLES, Finish, Pcm, write_vowel
from cosyhost.errors import (
    ENGINE_LOST,
    ENGINE_NO_SPEECH,
    ENGINE_OUT_OF_MEMORY,
    ENGINE_STALLED,
    Problem,
)

log = logging.getLogger(__name__)

# Upstream's first hop in speech tokens. It doubles with each chunk and is never set back, so that
# the next job's first sound would come 8 times later (upstream pull request #1849).
_FIRST_HOP = 25
# No token, no step of the flow and no chunk for so long: nothing will come any more.
_STALL_S = 120.0
# A stopped thread ends at its next look (0.1 s), or when a new prompt is read (0.5 s).
_STOP_S = 5.0
# Far from the seeds people use, so that a retry is not another user's take.
_SECOND_SEED = 0x5EED_0001
_WARM_UP_TEXT = "你好，很高兴认识你。"
_WARM_UP_SEEDS = 3


class CosyVoice:
    """CosyVoice3 in this process."""

    name = "cosyvoice"
    modes = request.MODES
    preview = False
    sample_rate = 24_000

    def __init__(self, settings: config.Engine) -> None:
        self._model_dir = Path(settings.model_dir)
        self._acceleration = settings.acceleration
        self._lost = ""
        self._sounds: Aside[Pcm] | None = None

    def load(self) -> None:
        """See `Engine.load`. Imports upstream and torch; call it in the process that speaks."""
        began = time.monotonic()
        self._upstream = upstream.start(self._model_dir, self._acceleration)
        self.sample_rate = int(self._upstream.sample_rate)
        self._watch = Watch(self._upstream.model)
        self._speakers = Speakers(self._upstream)
        loaded = time.monotonic()
        self._warm_up()
        log.info(
            "cosyvoice loaded in %.1f s, warm-up %.1f s, on %s, acceleration %s",
            loaded - began,
            time.monotonic() - loaded,
            "the GPU" if upstream.has_gpu() else "the CPU",
            self._acceleration,
        )

    def _warm_up(self) -> None:
        """Until the first sound, which all parts of the model had a hand in.

        No further: the job of a child that crashed waits for its successor's.
        """
        with tempfile.TemporaryDirectory() as folder:
            hum = Path(folder) / "hum.wav"
            write_vowel(hum)
            for seed in range(_WARM_UP_SEEDS):
                wish = Speech("cross_lingual", _WARM_UP_TEXT, hum, "", "", 1.0, seed)
                try:
                    with contextlib.closing(self.speak(wish)) as sounds:
                        if any(sound.any() for sound in sounds):
                            break
                except Problem as problem:
                    # To a hum the model may well have nothing to say.
                    if problem.kind is not ENGINE_NO_SPEECH or seed == _WARM_UP_SEEDS - 1:
                        raise
        self._quiet()
        self._speakers.forget()

    def speak(self, speech: Speech) -> Generator[Pcm, None, None]:
        """See `Engine.speak`."""
        request.check(speech)
        if not self._quiet():
            raise Problem(ENGINE_LOST, reason=self._lost or "a thread of it does not end")
        self._watch.begin()
        self._sounds = sounds = Aside(self._speech(speech), problem_of, self._tidy)
        try:
            for sound in sounds:
                if sound is None and time.monotonic() - self._watch.run.moved_at > _STALL_S:
                    raise Problem(ENGINE_STALLED, seconds=round(_STALL_S))
                yield NO_SAMPLES if sound is None else sound
        except Problem as problem:
            if problem.kind is ENGINE_LOST:
                self._lost = str(problem.figures["reason"])
            raise
        finally:
            # The threads end by themselves; whoever speaks next waits for that.
            self._watch.stop()

    def _quiet(self) -> bool:
        """Whether nothing of the last job runs any more; waits for it."""
        last = self._sounds is None or self._sounds.ended(_STOP_S)
        return last and self._watch.ended(_STOP_S) and not self._lost

    def _tidy(self, problem: Problem) -> None:
        """After a speech that broke off; after a whole one upstream frees the memory itself."""
        self._watch.ended(_STOP_S)
        self._watch.stop()
        if problem.kind is ENGINE_OUT_OF_MEMORY:
            # The known speakers too: the retry is to have all the memory there is.
            self._speakers.forget()
            gc.collect()
        upstream.free_memory()

    def _speech(self, speech: Speech) -> Iterator[Pcm]:
        """All the sound, on the synthesis thread."""
        speaker = self._speakers.know(speech.prompt_audio, request.prompt(speech))
        self._upstream.model.token_hop_len = _FIRST_HOP
        for number, segment in enumerate(request.segments(speech, self._upstream)):
            self._watch.run.moved()
            yield from self._segment(speech, segment, speaker, speech.seed + number)

    def _segment(self, speech: Speech, segment: str, speaker: str, seed: int) -> Iterator[Pcm]:
        for take in (seed, seed + _SECOND_SEED):
            finish = Finish(self.sample_rate)
            with contextlib.suppress(NoTokens):
                for samples in self._take(speech, segment, speaker, take):
                    yield finish.add(samples)
                yield finish.end()
                return
        raise Problem(ENGINE_NO_SPEECH)

    def _take(self, speech: Speech, segment: str, speaker: str, seed: int) -> Iterator[Any]:
        """The samples of one segment as upstream makes them, each of shape [samples]."""
        upstream.seed_all(seed)
        run = self._watch.run
        try:
            for made in request.call(speech, self._upstream, segment, speaker):
                run.moved()
                yield made["tts_speech"].numpy().reshape(-1)
        except Exception as error:
            # The language model's thread knows why; this one only misses its entry.
            cause, run.error = run.error, None
            raise cause or error from None
