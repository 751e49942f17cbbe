"""Every job is counted once over all web processes, whoever asked for it and whoever dies."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect

from tests import prompts
from tests.unit.service.conftest import Start, eventually, free_port
from tests.unit.service.test_api import LONG, TEXT, child_of, wish

Sums = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(web: httpx.Client) -> Sums:
    """Every sample of a process by its name and labels."""
    families = text_string_to_metric_families(web.get("/metrics").text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


class Counted:
    """What some web processes counted together since this was made."""

    def __init__(self, *webs: httpx.Client) -> None:
        self.webs = webs
        self._before = [scrape(web) for web in webs]

    def total(self, name: str, **labels: str) -> float:
        """Summed over the processes and over all labels that aren't named."""
        return sum(
            value - before.get(key, 0)
            for web, before in zip(self.webs, self._before, strict=True)
            for key, value in scrape(web).items()
            if key[0] == name and labels.items() <= dict(key[1]).items()
        )


def idle(client: redis.Redis) -> bool:
    """No job waits or runs."""
    return not client.zcard("jobs:waiting") and not client.zcard("jobs:leases")


@pytest.fixture
def second(
    config_path: Path, start: Start, tmp_path: Path
) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """Another web process of the same deployment."""
    port, path = free_port(), tmp_path / "second.toml"
    lines = config_path.read_text().splitlines()
    path.write_text("\n".join(f"port = {port}" if "port =" in line else line for line in lines))
    process = start("web", config_path=path)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as web:

        def ready() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return web.get("/readyz").status_code == 200
            return False

        eventually(ready, "the second web process")
        yield web, process
    process.kill()
    process.wait()


def upload(web: httpx.Client, data: bytes) -> str:
    """Send a recording as the studio does."""
    sha256 = hashlib.sha256(data).hexdigest()
    for at in range(0, len(data), 32768):
        headers = {"Upload-Offset": str(at), "Upload-Length": str(len(data))}
        chunk = data[at : at + 32768]
        web.patch(f"/v1/uploads/{sha256}", content=chunk, headers=headers).raise_for_status()
    return sha256


def by_speech(web: httpx.Client) -> None:
    web.post("/v1/audio/speech", json=wish()).raise_for_status()


def by_speech_whole(web: httpx.Client) -> None:
    web.post("/v1/audio/speech", json=wish(response_format="opus")).raise_for_status()


def by_events(web: httpx.Client) -> None:
    web.post("/v1/audio/speech", json=wish(stream_format="sse")).raise_for_status()


def by_the_studio(web: httpx.Client) -> None:
    web.get("/v1/jobs")
    sha256 = upload(web, prompts.good())
    web.post("/v1/jobs", json={"input": TEXT, "ref_upload": sha256}).raise_for_status()


def by_live_text(web: httpx.Client) -> None:
    sha256 = upload(web, prompts.good())
    base = str(web.base_url).replace("http", "ws", 1).rstrip("/")
    cookie = {"Cookie": f"cosyhost_user={web.cookies['cosyhost_user']}"}
    with connect(f"{base}/v1/audio/speech/live", additional_headers=cookie) as live:
        live.send(json.dumps({"ref_upload": sha256}))
        live.send(json.dumps({"text": TEXT, "end": True}))
        for message in live:
            if isinstance(message, str) and json.loads(message)["type"] == "done":
                break


WAYS: list[Callable[[httpx.Client], None]] = [
    *(by_speech, by_speech_whole, by_events, by_the_studio, by_live_text),
]


def test_every_way_to_ask_is_counted_once_over_two_web_processes(
    service: httpx.Client,
    second: tuple[httpx.Client, subprocess.Popen[bytes]],
    client: redis.Redis,
) -> None:
    eventually(lambda: idle(client), "earlier tests' jobs")
    webs = (service, second[0])
    counted, over = Counted(*webs), threading.Event()

    def keep_scraping(web: httpx.Client) -> None:
        with httpx.Client(base_url=web.base_url, timeout=30) as own:
            while not over.is_set():
                scrape(own)

    scrapers = [threading.Thread(target=keep_scraping, args=[web]) for web in webs]
    for scraper in scrapers:
        scraper.start()
    try:
        for web in webs:
            for way in WAYS:
                way(web)
        eventually(lambda: idle(client), "the jobs")
    finally:
        over.set()
        for scraper in scrapers:
            scraper.join()
    jobs = 2 * len(WAYS)
    done = {"engine": "espeak", "outcome": "done"}
    assert counted.total("cosyhost_jobs_total", preview="1", **done) == jobs
    assert counted.total("cosyhost_jobs_total") == jobs
    for phase in ("queue", "ttfa", "synth", "encode"):
        assert counted.total("cosyhost_job_phase_seconds_count", phase=phase, **done) == jobs
    assert counted.total("cosyhost_job_rtf_count", engine="espeak") == jobs
    assert counted.total("cosyhost_audio_seconds_total", engine="espeak") > 2 * jobs
    assert client.llen("jobs:ended") == 0


def test_jobs_of_a_web_process_that_was_killed_are_counted_by_another(
    service: httpx.Client,
    second: tuple[httpx.Client, subprocess.Popen[bytes]],
    client: redis.Redis,
) -> None:
    eventually(lambda: idle(client), "earlier tests' jobs")
    web, process = second
    counted = Counted(service)
    queued = web.post("/v1/jobs", json=wish(input=LONG)).json()["id"]
    body = wish(input=LONG, response_format="pcm")
    with web.stream("POST", "/v1/audio/speech", json=body) as response:
        streamed = response.headers["x-cosyhost-job"]
        eventually(lambda: client.hget(f"job:{queued}", "state") != b"queued", "the first job")
        child = child_of(client, streamed)
        os.kill(child, signal.SIGSTOP)
        process.kill()
        process.wait()
        os.kill(child, signal.SIGCONT)
    eventually(lambda: idle(client), "the jobs")
    assert client.hget(f"job:{streamed}", "state") == b"done"
    assert counted.total("cosyhost_jobs_total", outcome="done") == 2
    assert counted.total("cosyhost_jobs_total") == 2


def test_speech_is_counted_while_it_is_made(service: httpx.Client, client: redis.Redis) -> None:
    eventually(lambda: idle(client), "earlier tests' jobs")
    counted = Counted(service)
    body = wish(input=LONG, response_format="pcm")
    with service.stream("POST", "/v1/audio/speech", json=body) as response:
        job = response.headers["x-cosyhost-job"]
        child = child_of(client, job)
        os.kill(child, signal.SIGSTOP)
        try:
            spoken = counted.total("cosyhost_audio_seconds_total", engine="espeak")
            assert client.hget(f"job:{job}", "state") == b"running"
            assert counted.total("cosyhost_jobs_total") == 0
        finally:
            os.kill(child, signal.SIGCONT)
    assert spoken > 0.05
    eventually(lambda: counted.total("cosyhost_jobs_total", outcome="cancelled") == 1, "its end")
    assert counted.total("cosyhost_jobs_total") == 1


def test_a_job_cancelled_before_its_turn_has_no_engine(
    service: httpx.Client, client: redis.Redis
) -> None:
    eventually(lambda: idle(client), "earlier tests' jobs")
    counted = Counted(service)
    running = [service.post("/v1/jobs", json=wish(input=LONG)).json()["id"] for _ in range(2)]
    for job in running:
        eventually(functools.partial(client.hget, f"job:{job}", "owner"), "the start")
    children = {child_of(client, job) for job in running}
    for child in children:
        os.kill(child, signal.SIGSTOP)
    try:
        waiting = service.post("/v1/jobs", json=wish()).json()["id"]
        assert 0 < scrape(service)[("cosyhost_queue_oldest_seconds", frozenset())] < 10
        assert scrape(service)[("cosyhost_jobs_waiting_limit", frozenset())] == 4
        assert service.delete(f"/v1/jobs/{waiting}").json()["state"] == "cancelled"
        assert service.delete(f"/v1/jobs/{waiting}?forget=true").status_code == 204
        assert counted.total("cosyhost_jobs_total", engine="none", outcome="cancelled") == 1
        assert counted.total("cosyhost_job_phase_seconds_count", engine="none", phase="queue") == 0
        assert scrape(service)[("cosyhost_queue_oldest_seconds", frozenset())] == 0
    finally:
        for child in children:
            os.kill(child, signal.SIGCONT)
    for job in running:
        service.delete(f"/v1/jobs/{job}")
    assert counted.total("cosyhost_jobs_total") == 3


def test_an_upload_is_measured_as_its_sender_saw_it(
    service: httpx.Client, client: redis.Redis
) -> None:
    eventually(lambda: idle(client), "earlier tests' jobs")
    service.get("/v1/jobs")
    data = prompts.good()
    wished = {"input": TEXT, "ref_upload": upload(service, data), "upload_s": 2.0}
    counted = Counted(service)

    def asked(**said: int) -> dict[str, Any]:
        job: str = service.post("/v1/jobs", json={**wished, **said}).json()["id"]
        eventually(lambda: idle(client), "the job")
        answer: dict[str, Any] = service.get(f"/v1/jobs/{job}").json()
        return answer

    told = asked(upload_bytes=100_000)
    assert (told["upload_bytes"], told["timings_s"]["upload"]) == (100_000, pytest.approx(2, abs=1))
    # More than there is cannot have come; and what nobody measured says nothing.
    assert asked(upload_bytes=10**9)["upload_bytes"] == len(data)
    assert asked()["upload_bytes"] == 0
    rates = (100_000 + len(data)) / 2
    assert counted.total("cosyhost_job_uplink_bytes_per_second_count") == 2
    sum_ = counted.total("cosyhost_job_uplink_bytes_per_second_sum")
    assert sum_ == pytest.approx(rates, rel=0.05)
    assert counted.total("cosyhost_job_upload_bytes_sum") == 100_000 + len(data)
    phase = {"phase": "upload", "outcome": "done"}
    assert counted.total("cosyhost_job_phase_seconds_count", **phase) == 2


def test_what_the_door_says_of_a_body_is_its_upload(service: httpx.Client) -> None:
    uri = "data:audio/wav;base64," + base64.b64encode(prompts.good()).decode()
    for said, least_ms, most_ms in (("2.500", 2500, 3500), ("x", 0, 1000), ("1e9", 0, 1000)):
        answer = service.post(
            "/v1/audio/speech",
            json=wish(ref_audio=uri),
            headers={"X-CosyHost-Upload-S": said},
        )
        upload_part = answer.headers["server-timing"].split(", ")[0]
        name, dur, desc = upload_part.split(";")
        assert name == "upload"
        assert least_ms <= float(dur.removeprefix("dur=")) < most_ms
        size = int(answer.request.headers["content-length"])
        assert desc == f'desc="{size} bytes"'


def test_every_answer_with_sound_says_where_the_seconds_went(service: httpx.Client) -> None:
    def named(answer: httpx.Response) -> list[str]:
        parts = answer.headers["server-timing"].split(", ")
        assert all(float(part.split(";dur=")[1].split(";")[0]) >= 0 for part in parts)
        return [part.partition(";")[0] for part in parts]

    every = ["upload", "queue", "ttfa", "synth", "encode"]
    streamed = service.post("/v1/audio/speech", json=wish())
    assert named(streamed) == every[:3]
    assert named(service.post("/v1/audio/speech", json=wish(response_format="mp3"))) == every
    url = f"/v1/jobs/{streamed.headers['x-cosyhost-job']}/audio"
    assert named(service.get(url)) == every
    assert named(service.get(f"{url}?response_format=flac")) == every
    assert named(service.get(url, headers={"Range": "bytes=0-9"})) == every


def test_a_slow_client_is_seen_in_the_download(service: httpx.Client, client: redis.Redis) -> None:
    job = service.post("/v1/jobs", json=wish(input=LONG)).json()["id"]
    eventually(lambda: service.get(f"/v1/jobs/{job}").json()["state"] == "done", "the job")
    path, size = f"/v1/jobs/{job}/audio", len(service.get(f"/v1/jobs/{job}/audio").content)
    counted = Counted(service)
    done = {"phase": "download", "engine": "espeak", "outcome": "done"}

    def take(pace_bps: float, only: int) -> float:
        """Read at a pace; how long it took."""
        with socket.socket() as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
            line.connect((service.base_url.host, service.base_url.port))
            line.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            line.recv(1)
            began, got = time.monotonic(), 1
            while got < only and (data := line.recv(16384)):
                got += len(data)
                time.sleep(max(0.0, began + got / pace_bps - time.monotonic()))
            return time.monotonic() - began

    took = take(size / 1.5, size)
    eventually(lambda: counted.total("cosyhost_job_phase_seconds_count", **done) == 1, "its end")
    seen = counted.total("cosyhost_job_phase_seconds_sum", **done)
    assert 0.8 * took < seen < 1.1 * took
    assert counted.total("cosyhost_job_download_bytes_sum", format="wav") == size
    take(size / 0.5, size // 3)
    left = done | {"outcome": "cancelled"}
    eventually(lambda: counted.total("cosyhost_job_phase_seconds_count", **left) == 1, "who left")
    assert counted.total("cosyhost_job_download_bytes_count", format="wav") == 1


def test_a_refusal_or_an_unchanged_sound_is_no_download(service: httpx.Client) -> None:
    job = service.post("/v1/audio/speech", json=wish()).headers["x-cosyhost-job"]
    url = f"/v1/jobs/{job}/audio"
    etag = service.get(url).headers["etag"]
    counted = Counted(service)
    assert service.get(url, headers={"If-None-Match": etag}).status_code == 304
    assert service.get(url, headers={"Range": "bytes=99999999-"}).status_code == 416
    assert counted.total("cosyhost_job_phase_seconds_count", phase="download") == 0
    service.get(url)
    assert counted.total("cosyhost_job_phase_seconds_count", phase="download") == 1


def test_what_is_told_of_jobs_is_nobodys(service: httpx.Client, client: redis.Redis) -> None:
    answer = service.post("/v1/audio/speech", json=wish(input="秘密的句子，谁也不知道。"))
    eventually(lambda: idle(client), "the job")
    records: list[Any] = client.lrange("jobs:ended", 0, -1)
    assert len(records) >= 1
    told = b"".join(records).decode() + service.get("/metrics").text
    for private in ("秘密", answer.headers["x-cosyhost-job"], service.cookies["cosyhost_user"]):
        assert private not in told
