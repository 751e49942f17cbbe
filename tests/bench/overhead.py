"""What web and queue add to a job, beside the same engine called in this process.

Real web, worker and Redis on loopback; the engine is the preview engine.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import httpx

from cosyhost import config, engines
from tests import prompts
from tests.unit.service.conftest import TEMPLATE, free_port

TEXT = "今天天气很好，我们一起去公园散步吧。"
RUNS = 100
SIDE_BY_SIDE = 8


@contextmanager
def deployment(
    folder: Path, changes: Mapping[str, str] = MappingProxyType({})
) -> Iterator[httpx.Client]:
    """Redis, worker and web, until the context ends; `changes` are made in the settings' text."""
    redis_port, web_port = free_port(), free_port()
    config = folder / "cosyhost.toml"
    text = TEMPLATE.format(web_port=web_port, redis_port=redis_port, folder=folder)
    for old, new in {"waiting_jobs = 4": "waiting_jobs = 1000", **changes}.items():
        assert old in text, old
        text = text.replace(old, new)
    config.write_text(text)
    command = [sys.executable, "-m", "cosyhost.cli", "--config", str(config)]
    with (folder / "log").open("wb") as log:
        redis = ["redis-server", "--port", str(redis_port), "--save", "", "--appendonly", "yes"]
        running = [
            subprocess.Popen(line, cwd=folder, stdout=log, stderr=log)
            for line in (redis, [*command, "worker"], [*command, "web"])
        ]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{web_port}", timeout=60) as client:
            for _ in range(300):
                try:
                    if client.get("/readyz").status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.1)
            else:
                raise SystemExit((folder / "log").read_text())
            yield client
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(30)


def through_the_queue(client: httpx.Client) -> tuple[float, float]:
    """Seconds to the first sound and to the end of a job."""
    body = {"input": TEXT, "voice": "bench", "response_format": "pcm"}
    began = time.monotonic()
    with client.stream("POST", "/v1/audio/speech", json=body) as response:
        response.raise_for_status()
        sound = response.iter_raw()
        next(sound)
        first = time.monotonic() - began
        for _ in sound:
            pass
    return first, time.monotonic() - began


def alone(engine: engines.Engine, prompt: Path) -> tuple[float, float]:
    """The same of the engine called here."""
    speech = engines.Speech(
        mode="zero_shot",
        text=TEXT,
        prompt_audio=prompt,
        prompt_text=prompts.TRANSCRIPT,
        instruction="",
        speed=1.0,
        seed=0,
    )
    began = time.monotonic()
    chunks = iter(engine.speak(speech))
    next(chunks)
    first = time.monotonic() - began
    for _ in chunks:
        pass
    return first, time.monotonic() - began


def jobs_per_s(client: httpx.Client) -> float:
    """Throughput with more clients than worker children."""

    def some() -> None:
        with httpx.Client(base_url=client.base_url, timeout=60) as own:
            for _ in range(RUNS // SIDE_BY_SIDE):
                through_the_queue(own)

    threads = [threading.Thread(target=some) for _ in range(SIDE_BY_SIDE)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return RUNS // SIDE_BY_SIDE * SIDE_BY_SIDE / (time.monotonic() - began)


def main() -> None:
    """Measure in turn, so that the machine's moods hit both; one JSON line last."""
    with tempfile.TemporaryDirectory() as name, deployment(Path(name)) as client:
        made = client.post(
            "/v1/audio/voices",
            data={"name": "bench", "ref_text": prompts.TRANSCRIPT, "consent": "bench"},
            files={"audio_sample": ("prompt.wav", prompts.good())},
        )
        made.raise_for_status()
        prompt = next((Path(name) / "data/voices/prompts").glob("*.wav"))
        engine = engines.create(config.Engine("espeak", "", "", "none"))
        engine.load()
        through_the_queue(client)
        pairs = [(through_the_queue(client), alone(engine, prompt)) for _ in range(RUNS)]
        rate = jobs_per_s(client)
    queue_first, queue_total, alone_first, alone_total = (
        statistics.median(pair[which][what] for pair in pairs)
        for which, what in ((0, 0), (0, 1), (1, 0), (1, 1))
    )
    print(
        f"median of {RUNS}: first sound {queue_first * 1e3:.1f} ms, alone {alone_first * 1e3:.1f}"
    )
    print(f"median of {RUNS}: whole job {queue_total * 1e3:.1f} ms, alone {alone_total * 1e3:.1f}")
    figures = {
        "job_overhead_p50_ms": round((queue_total - alone_total) * 1e3, 1),
        "first_sound_p50_ms": round((queue_first - alone_first) * 1e3, 1),
        "jobs_per_s": round(rate, 1),
        "cores": os.cpu_count(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
