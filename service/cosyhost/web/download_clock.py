"""How long a client took to take a response's sound."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The server waits for the line after each piece, so no more than one is ahead of its time.
_PIECE_BYTES = 32 * 1024


@dataclass(frozen=True)
class Download:
    """Whose sound a response brings; its route leaves it in `request.state.download`."""

    mode: str
    engine: str
    format: str


Observe = Callable[[Download, float, int, str], None]
"""Told of a download: seconds from its first byte to its last, bytes, and how it ended."""


class DownloadClock:
    """ASGI middleware: times what leaves a `Download`; it needs `server.Line` below it.

    The seconds of a stream overlap with its synthesis. What lies in buffers on the way, of nginx
    and of kernels, counts as taken: about 130 KB behind nginx, 1 s at 1 Mbit/s.
    """

    def __init__(self, app: ASGIApp, observe: Observe) -> None:
        self._app = app
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on; what is timed leaves in pieces. A response that sent no byte is not observed."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        began, sent, outcome = 0.0, 0, "cancelled"

        async def timed(message: Message) -> None:
            nonlocal began, sent, outcome
            if message["type"] != "http.response.body" or "download" not in state:
                await send(message)
                return
            body = message.get("body", b"")
            if body and not began:
                began = time.monotonic()
            for at in range(0, len(body), _PIECE_BYTES):
                piece = body[at : at + _PIECE_BYTES]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                sent += len(piece)
            if message.get("more_body", False):
                return
            # Returns when all before it has left; a server is silent about clients that left.
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            if not await Request(scope, receive).is_disconnected():
                outcome = "done"
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        try:
            await self._app(scope, receive, timed)
        except Exception:
            outcome = "failed"
            raise
        finally:
            if began:
                self._observe(state["download"], time.monotonic() - began, sent, outcome)
