"""How long a request's body took to arrive, and the limit on its size."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cosyhost.errors import BODY_TOO_LARGE, Problem
from cosyhost.web.problems import response


class UploadClock:
    """ASGI middleware: leaves the seconds in `request.state.upload_s`."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Time the body; refuse one that says it is over the limit before it is sent."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Request(scope).headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > self._limit_bytes:
            problem = Problem(
                BODY_TOO_LARGE, size_mb=int(declared) / 1e6, limit_mb=self._limit_bytes / 1e6
            )
            await response(problem, scope["path"])(scope, receive, send)
            return
        began = time.monotonic()

        async def timed() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                scope.setdefault("state", {})["upload_s"] = time.monotonic() - began
            return message

        await self._app(scope, timed, send)
