"""The point of it all: a text goes in through the front door and a voice comes out."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest

from cosyhost import labels, tags
from tests.audit.expected import Expected
from tests.audit.probe import TEXT, Answer, Probe
from tests.audit.sound import samples, sign_place, sign_samples, wav_seconds

pytestmark = pytest.mark.group("edge")
PREVIEWS = ("espeak",)
WAV_HEAD_BYTES = 44
# After a restart the children that are gone count until their lease ends.
STALE_S = 20
# Seconds a character (Chinese or Latin) may take, from hasty to drawling.
QUICK_S, SLOW_S = 0.03, 0.4


@pytest.mark.control(
    "SPEECH-READY",
    "service",
    why="ready means that a job sent now would be spoken",
    zh="就绪意味着此刻提交的任务会被合成",
)
def test_the_service_says_it_is_ready(door: Probe, expected: Expected) -> None:
    wanted, at_least = 0, False
    for host in expected.groups["worker"]:
        of_host = expected.values[host]
        at_least |= of_host["service_jobs_per_gpu"] == "auto"
        children = 1 if at_least else int(of_host["service_jobs_per_gpu"])
        wanted += len(of_host["service_worker_gpus"]) * children
    for _ in range(STALE_S // 2):
        answer = door.ask("/readyz")
        assert answer.status == 200, answer.brief
        document = json.loads(answer.text)
        if document["workers"] <= wanted or at_least:
            break
        time.sleep(2)
    assert document["redis"] == document["store"] == "ok", answer.text
    enough = document["workers"] >= wanted if at_least else document["workers"] == wanted
    assert enough, f"{document['workers']} of {wanted} children work"


@pytest.mark.control(
    "SPEECH-AUDIO",
    "service",
    why="every part can be well and the whole still be silent",
    zh="各部分都正常，整体仍可能无声",
)
def test_a_text_is_spoken_in_plausible_length(speech: Answer) -> None:
    assert speech.status == 200, speech.brief
    head, seconds = speech.body[:WAV_HEAD_BYTES], wav_seconds(speech.body)
    assert head[:4] == b"RIFF" and head[8:12] == b"WAVE", f"no WAV: {head!r}"  # noqa: PT018
    low, high = len(TEXT) * QUICK_S, len(TEXT) * SLOW_S
    assert low < seconds < high, f"{seconds:.1f} s for {len(TEXT)} characters"
    heard, size = samples(speech.body), sign_samples(speech.body)
    spoken = {"start": heard[size:], "end": heard[:-size]}.get(sign_place(speech.body), heard)
    loudest = max(abs(sample) for sample in spoken)
    assert loudest > 1000, f"it is silent: no sample beyond {loudest}"


@pytest.mark.control(
    "SPEECH-LABEL",
    "service",
    why="nobody may take the preview for a clone, or the reverse",
    zh="任何人都不应把预览当作克隆，反之亦然",
)
def test_the_speech_says_what_made_it(speech: Answer, values: dict[str, Any]) -> None:
    engine = str(values["engine_kind"])
    said = speech.headers.get("x-cosyhost-engine", "no header")
    preview = engine in PREVIEWS
    assert said.startswith(engine), said
    assert ("preview" in said) == preview, said
    found = tags.read(io.BytesIO(speech.body))
    reading = labels.read(found.comments, found.aigc)
    assert reading.verdict == "cosyhost", f"{reading.verdict} {reading.reason}: {found}"
    assert reading.label is not None
    assert json.loads(speech.headers.get("x-cosyhost-label", "{}")) == reading.label.document()
    assert (reading.label.engine, reading.label.preview) == (engine, preview), found.comments
    job, producer = speech.headers.get("x-cosyhost-job"), str(values["service_label_producer"])
    aigc = json.loads(found.aigc[0])
    assert aigc["Label"] == "1", aigc
    assert (aigc["ContentProducer"], aigc["ProduceID"]) == (producer, job), aigc
    assert (aigc["ContentPropagator"], aigc["PropagateID"]) == (producer, job), aigc


@pytest.mark.control(
    "SPEECH-MARK",
    "service",
    why="who hears it must be told, where the tier asks for that",
    zh="层级要求时，听到的人必须被告知",
)
def test_the_speech_has_the_sign_that_the_tier_asks_for(
    speech: Answer, values: dict[str, Any]
) -> None:
    place, wanted = sign_place(speech.body), str(values["service_audible_mark"])
    assert place == wanted, f"service_audible_mark is {wanted}, heard: {place}"


@pytest.mark.control(
    "SPEECH-TIMING",
    "service",
    why="users must see where their seconds went",
    zh="用户必须看到时间花在了哪里",
)
def test_the_answer_says_where_the_seconds_went(speech: Answer) -> None:
    timing = speech.headers.get("server-timing", "none")
    assert all(f"{phase};dur=" in timing for phase in ("upload", "queue")), timing


@pytest.mark.control(
    "SPEECH-STREAM",
    "transport",
    why="the first sound must not wait for the last",
    zh="第一段声音不应等待最后一段",
)
def test_the_speech_comes_in_pieces(speech: Answer) -> None:
    assert "content-length" not in speech.headers, "it was sent whole"
    assert speech.reads > 1, f"{len(speech.body)} bytes came at once"
