"""Who holds lines, or sends heads that never end, holds up nobody else."""

from __future__ import annotations

import contextlib
import time

from tests.abuse.conftest import Chain

POST = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def test_heads_that_drip_are_given_up_and_others_are_served(chain: Chain) -> None:
    lines = [chain.line() for _ in range(100)]
    began = time.monotonic()
    left = set(lines)
    while left and time.monotonic() - began < 40:
        for line in list(left):
            line.settimeout(0.01)
            try:
                line.send(b"G" if time.monotonic() - began < 1 else b"X")
                if line.recv(1024) == b"":
                    left.discard(line)
            except TimeoutError:
                continue
            except OSError:
                left.discard(line)
        assert chain.status("/healthz") == 200
        time.sleep(0.5)
    assert not left, f"{len(left)} heads still drip after 40 s"


def test_one_address_does_not_get_all_lines_by_bodies_that_drip(chain: Chain) -> None:
    lines = [chain.line() for _ in range(450)]
    for line in lines:
        line.sendall(POST + b"Content-Length: 1000\r\n\r\n{")
    time.sleep(1)  # fewer than the patience that the door has here
    refused = 0
    for line in lines:
        line.setblocking(False)
        try:
            refused += line.recv(1024).startswith(b"HTTP/1.1 429 ")
        except BlockingIOError:
            continue
    assert refused == 50
    assert chain.status("/healthz") == 200
    assert chain.status("/v1/models") == 200


def test_a_thousand_lines_leave_room_for_others(chain: Chain) -> None:
    lines = [chain.line() for _ in range(1000)]
    for _ in range(20):
        assert chain.status("/healthz") == 200
    assert chain.status("/") == 200
    assert len(lines) == 1000


def test_heads_that_are_too_large_are_refused(chain: Chain) -> None:
    get = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    bombs = {
        "many": b"".join(b"X-%d: %s\r\n" % (i, b"y" * 300) for i in range(200)),
        "long": b"X-Long: " + b"y" * 100_000 + b"\r\n",
        "a cookie": b"Cookie: a=" + b"y" * 60_000 + b"\r\n",
    }
    for what, bomb in bombs.items():
        answer = _until_closed(chain, get + bomb + b"\r\n")
        assert answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 ")), (what, answer[:80])
    answer = _until_closed(chain, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 414 ")


def _until_closed(chain: Chain, data: bytes) -> bytes:
    """The answer, also where the door closes before it has read all."""
    line = chain.line()
    parts = []
    with contextlib.suppress(OSError):  # it has heard enough
        line.sendall(data)
    with contextlib.suppress(OSError):
        while part := line.recv(65536):
            parts.append(part)
    return b"".join(parts)
