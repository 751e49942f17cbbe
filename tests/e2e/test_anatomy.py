"""Where a slow user's seconds went, as the front door's log and the tier's metrics say it."""

from __future__ import annotations

import json
import re
import socket
import time
from typing import Any

import httpx

from tests.e2e import voice
from tests.e2e.tier import Tier

LOG = "/var/log/cosyhost/nginx-access.log"
# What lies in the buffers of nginx and of both kernels counts as sent and as taken.
BUFFERED_BYTES = 400_000


def slow_post(tier: Tier, path: str, body: bytes, takes_s: float) -> bytes:
    """The answer to a body that came at an even pace."""
    with socket.create_connection((httpx.URL(tier.url).host, 80), timeout=60) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        line.sendall(head.encode())
        began, piece = time.monotonic(), len(body) // 50 + 1
        for at in range(0, len(body), piece):
            time.sleep(max(0.0, began + takes_s * at / len(body) - time.monotonic()))
            line.sendall(body[at : at + piece])
        answer = b""
        while part := line.recv(65536):
            answer += part
    return answer


def slow_get(tier: Tier, path: str, bytes_s: float) -> float:
    """Take an answer at an even pace; how many seconds its end came after its beginning."""
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        line.settimeout(60)
        line.connect((httpx.URL(tier.url).host, 80))
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        line.recv(1)
        began, got = time.monotonic(), 1
        while part := line.recv(8192):
            got += len(part)
            time.sleep(max(0.0, began + got / bytes_s - time.monotonic()))
        return time.monotonic() - began


def logged(tier: Tier, path: str) -> dict[str, Any]:
    """The last line of the log for that address."""
    lines = tier.host.run("tail", "-n", "20", LOG).stdout.splitlines()
    found: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [line for line in found if line["path"] == path][-1]


def sample(tier: Tier, name: str, label: str = "") -> float:
    """A metric of the web process, summed over the labels that aren't named."""
    text = tier.host.run("curl", "-s", "http://127.0.0.1:7860/metrics").stdout
    found = re.findall(rf"^{name}({{.*}})? (\S+)$", text, re.M)
    return sum(float(value) for labels, value in found if label in labels)


def test_a_slow_upload_over_the_api_is_seen_as_its_sender_saw_it(lan: Tier, prompt: bytes) -> None:
    body = json.dumps(voice.request(prompt)).encode()
    before = sample(lan, "cosyhost_job_uplink_bytes_per_second_sum")
    answer = slow_post(lan, "/v1/audio/speech", body, 2.0)
    head = answer.partition(b"\r\n\r\n")[0].decode()
    said = re.search(r'Server-Timing: upload;dur=([0-9.]+);desc="(\d+) bytes"', head, re.I)
    assert said, head
    line = logged(lan, "/v1/audio/speech")
    assert [line["upload_ms"], line["upload_bytes"]] == [float(said[1]), int(said[2])]
    assert 1800 < line["upload_ms"] < 3500
    assert line["upload_bytes"] == len(body)
    assert line["queue_ms"] >= 0
    rate = sample(lan, "cosyhost_job_uplink_bytes_per_second_sum") - before
    assert 0.5 < rate / (len(body) / 2.0) < 1.2


def test_a_slow_download_is_seen_by_service_and_door(lan: Tier, prompt: bytes) -> None:
    with lan.client() as client:
        spoken = voice.speak(client, prompt, input=voice.TEXT * 4)
        path = f"/v1/jobs/{spoken.headers['X-CosyHost-Job']}/audio"
        size = len(client.get(path).content)
    assert size > 4 * BUFFERED_BYTES
    name = "cosyhost_job_phase_seconds_sum"
    before = sample(lan, name, 'phase="download"')
    took = slow_get(lan, path, size / 3.0)
    seen = sample(lan, name, 'phase="download"') - before
    line = logged(lan, "/v1/jobs/.../audio")
    unseen_s = BUFFERED_BYTES / (size / 3.0)
    assert took - unseen_s < seen < took + 0.3, (took, seen, size)
    assert took - unseen_s < line["request_s"] < took + 0.3
    assert line["synth_ms"] > 0
    assert line["out_bytes"] > size


def test_the_door_counts_its_connections_on_loopback_only(lan: Tier) -> None:
    told = lan.host.run("curl", "-s", "http://127.0.0.1:7863/nginx_status").stdout
    assert told.startswith("Active connections: ")
    with socket.socket() as probe:
        probe.settimeout(5)
        assert probe.connect_ex((httpx.URL(lan.url).host, 7863)) != 0
