"""The whole chain: the demo's door in a real nginx, the real web process, Redis and a worker."""

from __future__ import annotations

import contextlib
import http.client
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from cosyhost.config import Config
from tests.roles.test_door import door
from tests.unit.service.conftest import config, config_path, service, start  # noqa: F401

STRANGER, NEIGHBOUR = "127.0.0.2", "127.0.0.1"


@dataclass
class Chain:
    """Its door, and where its files are."""

    port: int
    folder: Path  # of the service: settings, data, trail
    log: Path  # nginx's
    lines: list[socket.socket] = field(default_factory=list)

    def line(self, source: str = STRANGER, patience_s: float = 30) -> socket.socket:
        """A connection from that address."""
        made = socket.create_connection(("127.0.0.1", self.port), patience_s, (source, 0))
        self.lines.append(made)
        return made

    def said(self, data: bytes, source: str = STRANGER) -> bytes:
        """All that is answered to these bytes, until the door closes or waits for more.

        The line stays open: of one that is half closed nginx takes it that nobody listens.
        """
        with self.line(source) as line:
            line.sendall(data)
            line.settimeout(1.5)
            parts = []
            with contextlib.suppress(TimeoutError):
                while part := line.recv(65536):
                    parts.append(part)
            return b"".join(parts)

    def status(self, path: str, method: str = "GET", **more: object) -> int:
        """What somebody else is answered meanwhile; the path goes out as it is."""
        asked = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            asked.request(method, path, **more)  # type: ignore[arg-type]
            answer = asked.getresponse()
            answer.read()
            return answer.status
        finally:
            asked.close()

    def hang_up(self) -> None:
        """Close all lines that are still open."""
        while self.lines:
            self.lines.pop().close()


@pytest.fixture(scope="session")
def whole(service: httpx.Client, config: Config, config_path: Path) -> Iterator[Chain]:  # noqa: F811
    """The chain, once for all tests."""
    # nginx reads as nobody, who may not look into pytest's folders.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        upstream = f"{config.web.listen}:{config.web.port}"
        with door("demo", folder, edge_upstream=upstream, edge_upstream_timeout_s=30) as front:
            yield Chain(front.port, config_path.parent, folder / "nginx-access.log")


@pytest.fixture
def chain(whole: Chain) -> Iterator[Chain]:
    """The same; what a test leaves open is closed, and the service must still be well."""
    yield whole
    whole.hang_up()
    assert whole.status("/readyz") == 200
