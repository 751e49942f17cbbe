"""Labels on every way out of the running service, and the sign that can be heard."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
import soundfile
from prometheus_client import CollectorRegistry
from websockets.sync.client import connect as open_socket

from cosyhost import audio, config, engines, jobs, labels, tags
from cosyhost.config import Config
from cosyhost.jobs import Broker, Ended, Job, Ledger, Mark, new_job_id
from cosyhost.store import Store
from cosyhost.voices import Library
from cosyhost.web.job_metrics import JobMetrics
from tests import prompts
from tests.audit import sound
from tests.unit.service.conftest import eventually
from tests.unit.service.test_api import wish

FORMATS = ("wav", "flac", "mp3", "opus")


def label_in(data: bytes) -> dict[str, Any]:
    found = tags.read(io.BytesIO(data))
    reading = labels.read(found.comments, found.aigc)
    assert reading.verdict == "cosyhost", reading
    assert reading.label is not None
    return reading.label.document()


def done(service: httpx.Client, job: str) -> None:
    eventually(lambda: service.get(f"/v1/jobs/{job}").json()["state"] == "done", "the job")


@pytest.mark.parametrize("response_format", FORMATS)
def test_what_is_streamed_kept_and_transcoded_has_one_label(
    service: httpx.Client, config: Config, response_format: str
) -> None:
    spoken = service.post("/v1/audio/speech", json=wish(response_format=response_format))
    said, job = label_in(spoken.content), spoken.headers["x-cosyhost-job"]
    assert json.loads(spoken.headers["x-cosyhost-label"]) == said
    assert (said["ai_generated"], said["service"], said["job"]) == (True, "CosyHost", job)
    assert (said["engine"], said["preview"], said["producer"]) == ("espeak", True, "Test-Operator")
    done(service, job)
    path = Path(config.store.url.removeprefix("file://")) / jobs.output_key(job)
    assert label_in(path.read_bytes()) == said
    for other in FORMATS:
        kept = service.get(f"/v1/jobs/{job}/audio?response_format={other}")
        assert label_in(kept.content) == said
        assert json.loads(kept.headers["x-cosyhost-label"]) == said


def test_what_has_no_room_for_a_label_has_it_in_a_header(service: httpx.Client) -> None:
    for fields in ({"response_format": "pcm"}, {"stream_format": "sse"}):
        spoken = service.post("/v1/audio/speech", json=wish(**fields))
        said = json.loads(spoken.headers["x-cosyhost-label"])
        assert said["job"] == spoken.headers["x-cosyhost-job"]
        assert said["ai_generated"] is True


def test_live_text_says_it_before_the_sound_and_with_each_sentence(
    service: httpx.Client, config: Config
) -> None:
    files = {"audio_sample": ("a.wav", prompts.good())}
    service.post("/v1/audio/voices", data={"name": "labelled", "ref_text": "好"}, files=files)
    url = f"ws://{config.web.listen}:{config.web.port}/v1/audio/speech/live"
    with open_socket(url) as socket:
        socket.send(json.dumps({"voice": "labelled"}))
        socket.send(json.dumps({"text": "今天。明天。", "end": True}))
        told = [json.loads(one) for one in socket if isinstance(one, str)]
    assert [one["type"] for one in told] == ["start", "spoken", "spoken", "done"]
    assert told[0]["label"] == told[1]["label"]
    assert [one["label"]["job"] for one in told[1:3]] == [one["job"] for one in told[1:3]]
    assert told[0]["label"]["preview"] is True


def test_an_output_of_an_older_release_is_labelled_as_it_leaves(
    service: httpx.Client, config: Config
) -> None:
    job = service.post("/v1/audio/speech", json=wish()).headers["x-cosyhost-job"]
    done(service, job)
    path = Path(config.store.url.removeprefix("file://")) / jobs.output_key(job)
    samples, rate = soundfile.read(path, dtype="int16")
    with soundfile.SoundFile(path, "w", rate, 1, format="WAV", subtype="PCM_16") as file:
        file.comment = "AI-generated speech; PREVIEW, no cloned voice; engine espeak; job 1"
        file.write(samples)
    kept = service.get(f"/v1/jobs/{job}/audio").content
    assert label_in(kept)["job"] == job
    assert soundfile.read(io.BytesIO(kept), dtype="int16")[0].tobytes() == samples.tobytes()


# The sign that can be heard


@pytest.fixture
def spoken(
    service: httpx.Client, config: Config, ledger: Ledger
) -> Callable[[Mark], tuple[bytes, dict[str, Any]]]:
    """Speaks a sentence with a sign at that place: the kept WAV and the job's document."""
    from cosyhost.audio import read_prompt

    prompt = Library(Store(config.store)).keep_prompt(read_prompt(prompts.good(), 2_000_000))
    broker = Broker(config, None)

    def speak(mark: Mark) -> tuple[bytes, dict[str, Any]]:
        job = Job(id=new_job_id(), mode="cross_lingual", text="你好。", prompt=prompt, mark=mark)
        ledger.submit(job)
        broker.publish(job)
        streamed = service.get(f"/v1/jobs/{job.id}/audio?response_format=pcm").content
        done(service, job.id)
        kept = service.get(f"/v1/jobs/{job.id}/audio").content
        assert bytes(sound.samples(kept)) == streamed, "listeners hear what is kept"
        return kept, service.get(f"/v1/jobs/{job.id}").json()

    return speak


@pytest.fixture
def ledger(config: Config) -> Ledger:
    """The deployment's ledger."""
    return Ledger(jobs.connect(config, None), waiting_limit=4, keep_s=3600)


def test_a_sign_stands_where_it_is_asked_for_and_counts_as_length(
    spoken: Callable[[Mark], tuple[bytes, dict[str, Any]]],
) -> None:
    plain, document = spoken("none")
    assert sound.sign_place(plain) == "none"
    bare = bytes(sound.samples(plain))
    for place in ("start", "end"):
        marked, longer = spoken(place)
        assert sound.sign_place(marked) == place
        sign = audio.sign(22_050, place)
        heard = bytes(sound.samples(marked))
        assert heard == (sign + bare if place == "start" else bare + sign)
        assert longer["audio_s"] - document["audio_s"] == pytest.approx(
            audio.mark.SECONDS, abs=0.01
        )
        assert sound.sign_samples(marked) == len(sign) // 2


def test_the_sign_is_no_speech_in_the_real_time_factor() -> None:
    registry = CollectorRegistry()
    settings = msgspec.convert(
        {"kind": "espeak", "model_dir": "", "url": "", "acceleration": "none"}, config.Engine
    )
    metrics = JobMetrics(registry, engines.create(settings))
    job = Ended(
        state="done",
        mode="instruct",
        engine="espeak",
        created=0.0,
        started=1.0,
        first_audio=2.0,
        finished=3.0,
        audio_s=5.2,
        mark_s=1.2,
        encode_s=0.0,
    )
    metrics.ended(job)
    assert registry.get_sample_value(
        "cosyhost_job_rtf_sum", {"mode": "instruct", "engine": "espeak"}
    ) == pytest.approx(0.5)


def test_a_mute_engine_is_found_behind_a_sign() -> None:
    heard = np.frombuffer(audio.sign(24_000, "start") + bytes(48_000), "<i2")
    assert not audio.without(heard, 24_000, "start").any()


@pytest.mark.parametrize(
    ("setting", "first"), [("none", "none"), ("start", "start"), ("end", "start")]
)
def test_a_conversation_has_one_sign_at_its_beginning(setting: str, first: str) -> None:
    from cosyhost.web.live import _Conversation

    class Settings:
        label = msgspec.convert({"producer": "x", "audible_mark": setting}, config.Label)

    class Services:
        config = Settings

    conversation = _Conversation(None, Services)  # type: ignore[arg-type]
    assert conversation._mark == first


def test_the_settings_name_a_producer_that_a_label_can_hold() -> None:
    for wrong in ("", "two words", "x" * 65, "克隆", 'a"b', "a\\b"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"producer": wrong, "audible_mark": "none"}, config.Label)
    good = msgspec.convert({"producer": "!#[]~" * 12, "audible_mark": "end"}, config.Label)
    mine = labels.Label("e", False, "2025-11-03T09:30:00Z", "1")
    assert dataclasses.replace(mine, producer=good.producer).producer == good.producer
