"""Serving: uvicorn under systemd, and the gate a release passes before it is switched to."""

from __future__ import annotations

import asyncio
import http.client
import logging
import socket
import threading
import time

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from cosyhost.config import Config
from cosyhost.errors import Problem
from cosyhost.systemd import notify
from cosyhost.web.app import create_app
from cosyhost.web.health import readiness

log = logging.getLogger(__name__)

_CHECK_TIMEOUT_S = 60
# How much of a response may lie in this host's kernel without being on its way.
_UNSENT_BYTES = 32 * 1024


class Line(H11Protocol):
    """uvicorn's protocol with no store of its own: sending waits until the line takes more.

    Else up to 64 KiB here and megabytes in the kernel (Linux grows a loopback buffer to 2.5 MB)
    would count as downloaded (`DownloadClock`), and be made for a client that has left.
    """

    def connection_made(  # type: ignore[override]
        self, transport: asyncio.Transport
    ) -> None:
        """Set the limits; reading and headers are as they were."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)
        line = transport.get_extra_info("socket")
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)


class _Server(uvicorn.Server):
    """uvicorn that tells systemd when it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            notify("READY=1")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        notify("STOPPING=1")
        await super().shutdown(sockets)


def _server(app: FastAPI, listen: str, port: int) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            host=listen,
            port=port,
            http=Line,
            # nginx on this host is the only client; it overwrites the forwarded headers.
            proxy_headers=True,
            forwarded_allow_ips="127.0.0.1",
            server_header=False,
            access_log=False,
            log_config=None,  # `logs` has set it up
            log_level="warning",
            timeout_graceful_shutdown=30,
        )
    )


def serve(config: Config, password: str | None) -> None:
    """Serve until told to stop."""
    _server(create_app(config, password), config.web.listen, config.web.port).run()


def check(config: Config, password: str | None) -> None:
    """Start the app beside a running one, ask it for its state and its page, and end it.

    A worker is not asked for: the running ones still belong to the release before.

    Raises:
        SystemExit: with one line that says what is wrong.
    """
    app = create_app(config, password)
    server = _server(app, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + _CHECK_TIMEOUT_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise SystemExit("cosyhost: the web process did not start")
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        report = readiness(app.state.services)
        missing = [name for name in ("redis", "store") if report[name] != "ok"]
        if missing:
            raise SystemExit(f"cosyhost: not ready: {', '.join(missing)} ({report})")
        for path, expected in (("/healthz", 200), ("/", 200)):
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            client.request("GET", path)
            answer = client.getresponse()
            if answer.status != expected:
                raise SystemExit(f"cosyhost: {path} answered {answer.status}")
    except (OSError, Problem) as error:
        raise SystemExit(f"cosyhost: the web process does not answer: {error}") from error
    finally:
        server.should_exit = True
        thread.join(10)
    print("cosyhost: web is well")
