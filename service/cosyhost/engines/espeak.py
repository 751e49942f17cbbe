"""The preview engine: espeak-ng with the prompt's pitch. It is no clone, and says so everywhere."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from cosyhost import text
from cosyhost.engines.interface import Speech
from cosyhost.engines.pitch import median_pitch
from cosyhost.errors import ENGINE_FAILED, Problem

_SAMPLE_RATE_HZ = 22_050
_HEADER_BYTES = 44
# A short chunk is heard soon; each later one costs its way to the listener, so they grow.
_FIRST_CHUNK_BYTES = _SAMPLE_RATE_HZ // 5 * 2
_LARGEST_CHUNK_BYTES = _SAMPLE_RATE_HZ * 2
_WORDS_PER_MINUTE = 175
_GAP_S = 0.12

# Median pitch in Hz of the plain voice and of the variant f2 at `-p` 0, 25, 50, 75, 99, measured
# with espeak-ng 1.51 on a Chinese and an English sentence by `pitch.median_pitch`.
_PITCH_STEPS = (0, 25, 50, 75, 99)
_PLAIN_HZ = (72.0, 80.0, 100.0, 128.0, 167.0)
_HIGH_HZ = (125.0, 153.0, 190.0, 245.0, 320.0)
_HIGH_FROM_HZ = 150.0

# The first script found decides; Latin text is read as English.
_SCRIPTS = (
    (re.compile(r"[\u3040-\u30ff]"), "ja"),
    (re.compile(r"[\uac00-\ud7a3]"), "ko"),
    (re.compile(r"[\u4e00-\u9fff]"), "cmn"),
    (re.compile(r"[\u0400-\u04ff]"), "ru"),
)
_SPEEDS = ((re.compile(r"快|fast"), 1.3), (re.compile(r"慢|slow"), 0.75))
_CANTONESE = re.compile(r"粤语|广东话|cantonese", re.IGNORECASE)


class Espeak:
    """Speaks through espeak-ng, a process for each segment of text."""

    name = "espeak"
    preview = True
    sample_rate = _SAMPLE_RATE_HZ
    modes = frozenset({"zero_shot", "cross_lingual", "instruct"})

    def load(self) -> None:
        """Prove that espeak-ng is there and speaks."""
        chunks = self._segment("你好。", "cmn", 50, 1.0)
        if sum(len(chunk) for chunk in chunks) < _SAMPLE_RATE_HZ // 10:
            raise Problem(ENGINE_FAILED, reason="espeak-ng gave no sound")

    def speak(self, speech: Speech) -> Generator[npt.NDArray[np.int16], None, None]:
        """See `Engine.speak`. The seed changes nothing: espeak-ng is deterministic."""
        voice, pitch = _voice_like(speech.prompt_audio)
        speed = speech.speed
        for pattern, factor in _SPEEDS:
            if pattern.search(speech.instruction):
                speed *= factor
        gap = np.zeros(int(_GAP_S * _SAMPLE_RATE_HZ), dtype=np.int16)
        for number, segment in enumerate(text.split(speech.text)):
            if number:
                yield gap
            language = _language(segment)
            if language == "cmn" and _CANTONESE.search(speech.instruction):
                language = "yue"
            yield from self._segment(segment, language + voice, pitch, speed)

    def _segment(
        self, segment: str, voice: str, pitch: int, speed: float
    ) -> Iterator[npt.NDArray[np.int16]]:
        words_per_minute = str(round(_WORDS_PER_MINUTE * speed))
        command = ["espeak-ng", "--stdin", "--stdout", "-v", voice]
        command += ["-p", str(pitch), "-s", words_per_minute]
        try:
            # What it says beside the sound could be the text.
            child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            raise Problem(ENGINE_FAILED, reason=f"espeak-ng: {error.strerror}") from error
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(segment.encode())
            child.stdin.close()
            child.stdout.read(_HEADER_BYTES)
            size = _FIRST_CHUNK_BYTES
            while data := child.stdout.read(size):
                yield np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2").astype(np.int16)
                size = min(size * 2, _LARGEST_CHUNK_BYTES)
            if child.wait() != 0:
                raise Problem(ENGINE_FAILED, reason=f"espeak-ng exit status {child.returncode}")
        finally:
            child.kill()
            child.stdout.close()
            child.wait()


def _language(segment: str) -> str:
    return next((name for script, name in _SCRIPTS if script.search(segment)), "en")


def _voice_like(prompt_audio: Path) -> tuple[str, int]:
    """The espeak-ng variant and pitch (0 to 99) nearest to the prompt's median pitch."""
    samples, sample_rate = soundfile.read(prompt_audio, dtype="float32")
    hertz = median_pitch(samples, sample_rate)
    if hertz is None:
        return "", 50
    high = hertz > _HIGH_FROM_HZ
    pitch = np.interp(hertz, _HIGH_HZ if high else _PLAIN_HZ, _PITCH_STEPS)
    return ("+f2" if high else ""), round(float(pitch))
