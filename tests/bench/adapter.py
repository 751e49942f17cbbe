"""What the adapter costs beside upstream called directly, and how soon it lets go.

Overhead and throughput are of the adapter's own code: by default upstream is the stand-in without
any work of its own to do, so that nothing hides them; COSYHOST_MODEL_DIR names a real model for the
upstream that can be imported here. Cancel and crash go through a real worker and Redis.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import redis

from cosyhost import engines
from cosyhost.config import load
from cosyhost.engines import Speech
from tests import prompts, standins
from tests.bench.overhead import deployment
from tests.standin_cosyvoice.make_model import make_model

TEXT = "收到好友从远方寄来的生日礼物，那份意外的惊喜让我心中充满了甜蜜的快乐。"
PREFIX = "You are a helpful assistant.<|endofprompt|>"
PAIRS = 40
CANCELS = 15
CRASHES = 5
_OWNER_PID = 2  # host/boot/pid/ticks


class Direct:
    """Upstream as somebody would call it who knows it well: speaker known, hop set back."""

    def __init__(self, model_dir: str, prompt: Path) -> None:
        module: Any = importlib.import_module("cosyvoice.cli.cosyvoice")
        self._upstream = module.AutoModel(model_dir=model_dir)
        module.tqdm = iter
        self._prompt = str(prompt)
        self._upstream.add_zero_shot_spk(PREFIX + prompts.TRANSCRIPT, self._prompt, "known")

    def speak(self, speed: float) -> int:
        """Samples of the whole text."""
        self._upstream.model.token_hop_len = 25
        made = self._upstream.inference_zero_shot(
            TEXT,
            PREFIX + prompts.TRANSCRIPT,
            self._prompt,
            zero_shot_spk_id="known",
            stream=speed == 1.0,
            speed=speed,
        )
        return sum(chunk["tts_speech"].shape[1] for chunk in made)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Before all else on this machine, so that its other work is not counted; needs root."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def took(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def overhead(folder: Path) -> dict[str, float]:
    """Both in turn, so that the machine's moods hit both."""
    prompt = folder / "prompt.wav"
    prompt.write_bytes(prompts.good())
    settings = standins.cosyvoice(folder / "model")
    if real := os.environ.get("COSYHOST_MODEL_DIR"):
        settings = type(settings)("cosyvoice", real, "", "none")
    engine = engines.create(settings)
    engine.load()
    direct = Direct(settings.model_dir, prompt)

    def ours(speed: float) -> None:
        wish = Speech("zero_shot", TEXT, prompt, prompts.TRANSCRIPT, "", speed, 1)
        for _ in engine.speak(wish):
            pass

    # Upstream looks for tokens each 0.1 s when it streams; in one piece nothing is rounded up.
    for speed in (1.1, 1.0):
        ours(speed)
        direct.speak(speed)
    with undisturbed():
        pairs = [(took(lambda: ours(1.1)), took(lambda: direct.speak(1.1))) for _ in range(PAIRS)]
        streamed = [
            (took(lambda: ours(1.0)), took(lambda: direct.speak(1.0))) for _ in range(PAIRS)
        ]
    added_ms = statistics.median(one - other for one, other in pairs) * 1e3
    print(f"in one piece: {statistics.median(b for _, b in pairs) * 1e3:.1f} ms direct")
    print(f"streamed: {statistics.median(b for _, b in streamed) * 1e3:.1f} ms direct")
    ratio = sum(b for _, b in streamed) / sum(a for a, _ in streamed)
    return {"overhead_p50_ms": round(added_ms, 2), "throughput_ratio": round(ratio, 3)}


class Jobs:
    """Jobs of a running service, seen in its ledger."""

    def __init__(self, client: httpx.Client, ledger: redis.Redis) -> None:
        self._client = client
        self._ledger = ledger

    def begin(self, text: str) -> str:
        """The id of a new job."""
        body = {"input": text, "voice": "bench"}
        answer = self._client.post("/v1/jobs", json=body)
        answer.raise_for_status()
        return str(answer.json()["id"])

    def field(self, job: str, name: str) -> str:
        """What the ledger says of it."""
        value: Any = self._ledger.hget(f"job:{job}", name)
        return (value or b"").decode()

    def wait(self, job: str, name: str, value: str | None = None) -> float:
        """The monotonic time at which the field was there, or had that value."""
        for _ in itertools.count():
            found = self.field(job, name)
            if found == value or (value is None and found):
                return time.monotonic()
            time.sleep(0.002)
        raise AssertionError

    def wait_for(self, children: int) -> None:
        """Until so many have their engine loaded."""
        while self._client.get("/v1/admin/state").json()["children"] != children:
            time.sleep(0.1)

    def cancel(self, job: str) -> None:
        """As the page does it."""
        self._client.delete(f"/v1/jobs/{job}").raise_for_status()


def cancel_s(jobs: Jobs) -> float:
    """From the request to cancel until the only child has begun the job that waited."""
    running = jobs.begin("ENDLESS" + TEXT)
    jobs.wait(running, "first_audio")
    waiting = jobs.begin(TEXT)
    time.sleep(0.05)
    began = time.monotonic()
    jobs.cancel(running)
    ended = jobs.wait(waiting, "state", "running")
    jobs.wait(waiting, "state", "done")
    return ended - began


def crash_s(jobs: Jobs, children: int) -> float:
    """From SIGKILL to the child until the job runs again, on the same host; all children there."""
    jobs.wait_for(children)
    job = jobs.begin("ENDLESS" + TEXT)
    jobs.wait(job, "first_audio")
    began = time.monotonic()
    os.kill(int(jobs.field(job, "owner").split("/")[_OWNER_PID]), signal.SIGKILL)
    ended = jobs.wait(job, "attempts", "2")
    jobs.cancel(job)
    return ended - began


@contextlib.contextmanager
def worker(children: int) -> Iterator[Jobs]:
    """A service whose one worker speaks through the adapter, with so many children."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        make_model(folder / "model")
        changes = {
            'kind = "espeak"\nmodel_dir = ""': f'kind = "cosyvoice"\nmodel_dir = "{folder}/model"',
            "children = 2": f"children = {children}",
        }
        own = os.environ["PYTHONPATH"]
        stack.callback(os.environ.__setitem__, "PYTHONPATH", own)
        os.environ["PYTHONPATH"] = os.pathsep.join([own, str(standins.COSYVOICE)])
        os.environ["COSYVOICE_STANDIN_TOKEN_S"] = "0.01"
        client = stack.enter_context(deployment(folder, changes))
        client.post(
            "/v1/audio/voices",
            data={"name": "bench", "ref_text": prompts.TRANSCRIPT, "consent": "bench"},
            files={"audio_sample": ("prompt.wav", prompts.good())},
        ).raise_for_status()
        yield Jobs(client, redis.Redis.from_url(load(folder / "cosyhost.toml").redis.url))


def through_workers() -> dict[str, float]:
    """Cancel with one child, so that the job that was broken off is the one that has to go.

    A crash with two, as lan and demo have (a V100 holds 2 to 3), and with one, whose engine has to
    load anew before the job can run again.
    """
    with worker(1) as jobs:
        cancels = [cancel_s(jobs) for _ in range(CANCELS)]
        alone = [crash_s(jobs, 1) for _ in range(CRASHES)]
    with worker(2) as jobs:
        beside = [crash_s(jobs, 2) for _ in range(CRASHES)]
    print(f"cancel to next job: {[round(s, 3) for s in sorted(cancels)]}")
    print(f"SIGKILL to next attempt, two children: {[round(s, 2) for s in sorted(beside)]}")
    print(f"SIGKILL to next attempt, one child: {[round(s, 2) for s in sorted(alone)]}")
    return {
        "cancel_s": round(max(cancels), 3),
        "crash_restart_s": round(max(beside), 2),
        "crash_restart_one_child_s": round(max(alone), 2),
    }


def main() -> None:
    """One JSON line last."""
    with tempfile.TemporaryDirectory() as folder:
        figures = overhead(Path(folder))
    figures |= through_workers()
    print(json.dumps({**figures, "cores": os.cpu_count()}))


if __name__ == "__main__":
    main()
