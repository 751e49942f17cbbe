"""What browsers and proxies on the way may keep."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_API = ("/v1/", "/healthz", "/readyz")


class NoStore:
    """ASGI middleware: what the API answers is kept by nobody, unless the route says otherwise."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the header where it is missing."""

        async def mark(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("cache-control", "no-store")
            await send(message)

        api = scope["type"] == "http" and scope["path"].startswith(_API)
        await self._app(scope, receive, mark if api else send)
