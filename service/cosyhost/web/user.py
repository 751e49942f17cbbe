"""Who asks: a random name in a cookie, so that one browser's uploads and jobs are its own."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "cosyhost_user"
_NAME = re.compile(r"[A-Za-z0-9_-]{24}")
_A_YEAR_S = 365 * 24 * 3600


class UserCookie:
    """ASGI middleware: leaves the name in `request.state.user` and gives one to who has none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read or make the name."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        name = connection.cookies.get(COOKIE, "")
        known = bool(_NAME.fullmatch(name))
        scope.setdefault("state", {})["user"] = name if known else secrets.token_urlsafe(18)
        if known:
            await self._app(scope, receive, send)
            return

        async def give(message: Message) -> None:
            if message["type"] == "http.response.start":
                cookie = f"{COOKIE}={scope['state']['user']}; Path=/; Max-Age={_A_YEAR_S}"
                cookie += "; HttpOnly; SameSite=Lax"
                if scope.get("scheme") == "https":
                    cookie += "; Secure"
                MutableHeaders(scope=message).append("set-cookie", cookie)
            await send(message)

        await self._app(scope, receive, give)


def user_id(name: str) -> str:
    """How a user is called where others may read it: the name itself opens their jobs."""
    return hashlib.sha256(name.encode()).hexdigest()[:16] if name else ""


def address_of(connection: HTTPConnection) -> str:
    """Where the user is, as nginx saw it (uvicorn's `proxy_headers`)."""
    return connection.client.host if connection.client else ""


async def _user(request: Request) -> str:
    return str(request.state.user)


User = Annotated[str, Depends(_user)]
"""The type of a route's parameter that receives the name."""
