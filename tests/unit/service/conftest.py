"""A real Redis, a real worker and a real web process on free loopback ports."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import redis

from cosyhost.config import Config, load

ROOT = Path(__file__).parents[3]
# The service starts processes of its own (decoder, worker children); they import it from here too.
os.environ["PYTHONPATH"] = str(ROOT / "service")
TEMPLATE = """
tier = "test"
consent = "asked"
[web]
listen = "127.0.0.1"
port = {web_port}
[redis]
url = "redis://127.0.0.1:{redis_port}/0"
[store]
url = "file://{folder}/data"
endpoint = ""
region = ""
[retention]
max_age_s = 3600
max_bytes = 1000000000
min_free_bytes = 1000000
refuse_below_bytes = 1000000
period_s = 600
[engine]
kind = "espeak"
model_dir = ""
url = ""
acceleration = "none"
[limits]
body_bytes = 2000000
text_chars = 500
waiting_jobs = 4
[jobs]
children = 2
time_limit_s = 30
keep_s = 3600
load_timeout_s = 60
recycle_after_jobs = 1000
recycle_above_mb = 4000
[studio]
restart_button = "everyone"
[label]
producer = "Test-Operator"
audible_mark = "none"
[link]
min_up_mbit = 50
min_down_mbit = 40
"""


def free_port() -> int:
    """A loopback port nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(
    condition: Callable[[], object], what: str, seconds: float = 60, every: float = 0.05
) -> None:
    """Wait until `condition` is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(every)


@pytest.fixture(scope="session")
def config_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Settings of a deployment whose Redis runs."""
    folder = tmp_path_factory.mktemp("cosyhost")
    redis_port, web_port = free_port(), free_port()
    path = folder / "cosyhost.toml"
    path.write_text(TEMPLATE.format(web_port=web_port, redis_port=redis_port, folder=folder))
    server = subprocess.Popen(
        ["redis-server", "--port", str(redis_port), "--bind", "127.0.0.1", "--save", ""],
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    client = redis.Redis(port=redis_port)

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False

    eventually(answers, "Redis")
    yield path
    server.terminate()
    server.wait(10)


@pytest.fixture(scope="session")
def config(config_path: Path) -> Config:
    """The same settings as an object."""
    return load(config_path)


@pytest.fixture
def client(config: Config) -> redis.Redis:
    """The deployment's Redis."""
    return redis.Redis.from_url(config.redis.url)


Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(scope="session")
def start(config_path: Path) -> Iterator[Start]:
    """Starts `cosyhost VERB ...` as a process; all end with the session."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(*verb: str, config_path: Path = config_path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "cosyhost.cli", "--config", str(config_path), *verb]
        log = (config_path.parent / f"{verb[0]}.log").open("ab")
        folder, trail = config_path.parent, config_path.parent / "trail"
        trail.mkdir(exist_ok=True)
        environment = os.environ | {"RUNTIME_DIRECTORY": str(folder), "LOGS_DIRECTORY": str(trail)}
        running.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))
        return running[-1]

    yield begin
    for process in running:
        process.terminate()
    for process in running:
        process.wait(30)


@pytest.fixture(scope="session")
def service(config: Config, start: Start) -> Iterator[httpx.Client]:
    """A client of the running service."""
    start("web")
    start("worker")
    base = f"http://{config.web.listen}:{config.web.port}"
    with httpx.Client(base_url=base, timeout=30) as http:

        def ready() -> bool:
            try:
                return http.get("/readyz").status_code == 200
            except httpx.TransportError:
                return False

        eventually(ready, "the service", seconds=60)
        yield http
