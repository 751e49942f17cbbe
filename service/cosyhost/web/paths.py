"""Addresses that name nothing, before Gradio looks for a file of that name and fails."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from cosyhost.errors import NOT_FOUND, Problem
from cosyhost.web.problems import response

# NAME_MAX of Linux (limits.h), in bytes.
_LONGEST = 255


class NoSuchName:
    """ASGI middleware: outside the API, a part longer than any file's name is answered with 404."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let pass what may be there."""
        path = scope["path"] if scope["type"] == "http" else ""
        api = path.startswith("/v1/")
        if api or all(len(part.encode()) <= _LONGEST for part in path.split("/")):
            await self._app(scope, receive, send)
        else:
            problem = Problem(NOT_FOUND, path=path[:_LONGEST], method=scope["method"])
            await response(problem, "")(scope, receive, send)
