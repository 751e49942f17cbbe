"""No other site may act here with its visitors' browsers (cross-site request forgery)."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from cosyhost.errors import CROSS_ORIGIN, Problem
from cosyhost.web.problems import response

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# RFC 6455, 7.4.1: a policy was violated.
_POLICY_VIOLATED = 1008


def same_origin(headers: Headers) -> bool:
    """Whether the request is no other site's doing.

    Browsers say where one comes from (Fetch Metadata, or at least Origin); a client that says
    neither is no browser and carries nobody's rights.
    """
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


class SameOrigin:
    """ASGI middleware: refuses what changes something, and live sockets, when another site asks."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let pass what only reads, and what comes from our own page or from no page."""
        asks = scope["type"] == "http" and scope["method"] not in _SAFE
        if not (asks or scope["type"] == "websocket") or same_origin(Headers(scope=scope)):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": _POLICY_VIOLATED})
        else:
            await response(Problem(CROSS_ORIGIN), scope["path"])(scope, receive, send)
