"""How long a request's body took to arrive, and the limit on its size.

nginx takes a body in whole before the service sees it, and says in a header how long that took.
"""

from __future__ import annotations

import re
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cosyhost.errors import BODY_TOO_LARGE, Problem
from cosyhost.web.problems import response

SAID = "x-cosyhost-upload-s"
_NUMBER = re.compile(r"\d{1,6}(\.\d{1,3})?", re.ASCII)


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
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > self._limit_bytes:
            problem = Problem(
                BODY_TOO_LARGE, size_mb=int(declared) / 1e6, limit_mb=self._limit_bytes / 1e6
            )
            await response(problem, scope["path"])(scope, receive, send)
            return
        began = time.monotonic() - _seconds(headers.get(SAID, ""))

        async def timed() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                scope.setdefault("state", {})["upload_s"] = time.monotonic() - began
            return message

        await self._app(scope, timed, send)


def _seconds(said: str) -> float:
    """As nginx writes them: 9.123."""
    return float(said) if _NUMBER.fullmatch(said) else 0.0
