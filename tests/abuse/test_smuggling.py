"""One request in the door's eyes is one in the service's: nothing rides in behind another."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable

import pytest

from tests.abuse.conftest import Chain

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def _inner(mark: str) -> bytes:
    return f"GET /v1/jobs/{mark} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def _head(*lines: str) -> bytes:
    first = ("POST /v1/jobs HTTP/1.1", "Host: x", "Content-Type: application/json")
    return "\r\n".join([*first, *lines, "", ""]).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)


PROBES: dict[str, Callable[[bytes], bytes]] = {
    "length over chunks": lambda inner: _head(
        "Content-Length: 4", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + inner,
    "chunks over length": lambda inner: _head(
        f"Content-Length: {len(inner) + 5}", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + inner,
    "a chunked that is none": lambda inner: _head(
        f"Content-Length: {len(inner)}", "Transfer-Encoding: xchunked") + inner,
    "a space before the colon": lambda inner: _head(
        f"Content-Length: {len(inner)}", "Transfer-Encoding : chunked") + inner,
    "a tab before the word": lambda inner: _head(
        f"Content-Length: {len(inner)}", "Transfer-Encoding:\tchunked") + b"0\r\n\r\n" + inner,
    "two codings": lambda inner: _head(
        "Transfer-Encoding: chunked", "Transfer-Encoding: identity") + b"0\r\n\r\n" + inner,
    "two lengths": lambda inner: _head(
        "Content-Length: 0", f"Content-Length: {len(inner)}") + inner,
    "a length with a sign": lambda inner: _head(f"Content-Length: +{len(inner)}") + inner,
    "a length in hexadecimal": lambda inner: _head(f"Content-Length: 0x{len(inner):x}") + inner,
    "a folded header": lambda inner: _head(
        "Transfer-Encoding:", f" chunked\r\nContent-Length: {len(inner)}") + inner,
    "a chunk with an extension": lambda inner: _head("Transfer-Encoding: chunked")
    + b"2;a=\r\n{}\r\n0\r\n" + b"X: y\r\n\r\n",
    "a chunk too long for any number": lambda inner: _head("Transfer-Encoding: chunked")
    + b"fffffffffffffffff\r\n" + inner,
    "a body in a GET": lambda inner: b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: "
    + str(len(inner)).encode() + b"\r\n\r\n" + inner,
    "a bare line feed": lambda inner: _head("X: y\nTransfer-Encoding: chunked")
    + _chunk(inner),
}  # fmt: skip


@pytest.mark.parametrize("what", PROBES)
def test_what_is_hidden_in_a_request_is_not_one(chain: Chain, what: str) -> None:
    """The door has seen as many requests as were answered; the next test: the service has too."""
    before = _logged(chain)
    answer = chain.said(PROBES[what](_inner(f"smuggled{secrets.token_hex(8)}")))
    statuses = [int(found) for found in STATUS.findall(answer)]
    assert statuses, answer[:200]
    assert all(status < 500 or status == 501 for status in statuses), answer[:200]
    # Requests that follow each other on a line are seen, and logged, by the door itself.
    assert _logged(chain) - before == len(statuses), statuses


def test_answers_of_one_line_never_reach_another(chain: Chain) -> None:
    """A request that only the service saw would be answered to whoever asks next."""
    for what, probe in PROBES.items():
        chain.said(probe(_inner("smuggled")))
        for _ in range(5):
            answer = chain.said(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 "), (what, answer[:100])
            assert b"smuggled" not in answer, what


def _logged(chain: Chain) -> int:
    """How many requests the door has written down, once it writes no more."""
    count = -1
    while count != (now := chain.log.read_bytes().count(b"\n") if chain.log.exists() else 0):
        count = now
        time.sleep(0.3)
    return count
