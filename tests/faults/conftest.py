"""A real Redis and real workers, whose engine fails on command (`engine.py`)."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from cosyhost import jobs
from cosyhost.config import Config, load
from cosyhost.jobs import Broker, Fleet, Job, Ledger, Mode, Status
from cosyhost.store import Store
from cosyhost.voices import prompt_key
from tests.unit.service.conftest import TEMPLATE, eventually, free_port

ROOT = Path(__file__).parents[2]
PROMPT = "0" * 64


class Notices:
    """systemd's end of sd_notify(3)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: list[tuple[float, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            lines = self._socket.recv(4096).decode().splitlines()
            self.seen += [(time.monotonic(), line) for line in lines]

    def has(self, start: str) -> bool:
        """Whether a notice began like that."""
        return any(line.startswith(start) for _, line in self.seen)

    def fed_since(self, moment: float) -> int:
        """How often the watchdog was fed after that moment."""
        return sum(1 for at, line in self.seen if line == "WATCHDOG=1" and at > moment)

    @property
    def status(self) -> str:
        """What `systemctl status` would show."""
        return next((line for _, line in reversed(self.seen) if line.startswith("STATUS=")), "")


class Deployment:
    """A queue, its jobs, and as many workers as a test starts."""

    def __init__(self, folder: Path, **values: int) -> None:
        self.folder = folder
        self.notes = folder / "notes"
        self.notes.mkdir()
        self.redis_port = free_port()
        settings = TEMPLATE.format(web_port=free_port(), redis_port=self.redis_port, folder=folder)
        for name, value in ({"waiting_jobs": 100, "time_limit_s": 20} | values).items():
            settings = re.sub(rf"(?m)^{name} = .*", f"{name} = {value}", settings)
        self.config_path = folder / "cosyhost.toml"
        self.config_path.write_text(settings)
        self.config: Config = load(self.config_path)
        self.client = redis.Redis(port=self.redis_port)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._redis: subprocess.Popen[bytes] | None = None
        self.start_redis()
        self.ledger = Ledger(self.client, waiting_limit=100, keep_s=3600)
        self.broker = Broker(self.config, None)
        self.fleet = Fleet(self.client)
        Store(self.config.store).put(prompt_key(PROMPT), b"not looked at")

    def start_redis(self) -> None:
        """Start Redis; it keeps what it was told before."""
        self._redis = subprocess.Popen(
            [
                *("redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1"),
                *("--save", "", "--appendonly", "yes"),
            ],
            cwd=self.folder, stdout=subprocess.DEVNULL,
        )  # fmt: skip

        def answers() -> bool:
            with contextlib.suppress(redis.RedisError):
                return bool(self.client.ping())
            return False

        eventually(answers, "Redis")

    def stop_redis(self) -> None:
        """End Redis."""
        assert self._redis is not None
        self._redis.terminate()
        self._redis.wait(10)

    def worker(self, gpu: str = "0", **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker; its log is worker.log."""
        log = (self.folder / "worker.log").open("ab")
        self._processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.faults.engine", str(self.config_path), gpu],
                cwd=ROOT, stdout=log, stderr=log,
                env=os.environ | {
                    "PYTHONPATH": f"{ROOT / 'service'}:{ROOT}",
                    "COSYHOST_TEST_NOTES": str(self.notes),
                } | environment,
            )
        )  # fmt: skip
        return self._processes[-1]

    def ready(self, children: int = 2) -> None:
        """Wait until so many children take jobs."""
        eventually(lambda: self.ledger.workers() == children, f"{children} children")

    def children(self) -> list[int]:
        """The process ids of the children."""
        names: Any = self.client.zrange("jobs:workers", 0, -1)
        return [int(name.decode().split("/")[2]) for name in names]

    def owner(self, job: Job) -> int:
        """The process that has the job, once one has."""
        eventually(lambda: self.status(job).state == "running", "the job to begin")
        eventually(lambda: (self.notes / job.text).exists(), "the engine to begin")
        raw = self.client.hget(f"job:{job.id}", "owner")
        assert isinstance(raw, bytes)
        return int(raw.decode().split("/")[2])

    def submit(self, text: str, mode: Mode = "cross_lingual") -> Job:
        """Queue a job."""
        job = Job(id=jobs.new_job_id(), mode=mode, text=text, prompt=PROMPT)
        self.ledger.submit(job)
        self.broker.publish(job)
        return job

    def status(self, job: Job) -> Status:
        """Where it stands."""
        return self.ledger.status(job.id)

    def ended(self, job: Job) -> Status:
        """Its status once it has ended."""
        eventually(lambda: self.status(job).state in jobs.ENDED, f"the end of {job.text!r}", 90)
        return self.status(job)

    def logged(self) -> str:
        """What the workers wrote."""
        return (self.folder / "worker.log").read_text(errors="replace")

    def close(self) -> None:
        """End everything."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            process.wait()
        self.stop_redis()


def alive(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


Deploy = Callable[..., Deployment]


@pytest.fixture
def deploy(tmp_path: Path) -> Iterator[Deploy]:
    """Makes a deployment with the given settings."""
    made: list[Deployment] = []

    def make(**values: int) -> Deployment:
        made.append(Deployment(tmp_path, **values))
        return made[-1]

    yield make
    for deployment in made:
        deployment.close()


@pytest.fixture
def deployment(deploy: Deploy) -> Deployment:
    """Two children, ready to work."""
    made = deploy()
    made.worker()
    made.ready()
    return made


@pytest.fixture
def notices(tmp_path: Path) -> Notices:
    """What a worker with NOTIFY_SOCKET=`notices.path` tells systemd."""
    return Notices(tmp_path / "notify")
