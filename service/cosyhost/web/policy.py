"""What a page of ours may load and run (Content-Security-Policy level 3)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Inline scripts only; how a browser ends one: HTML, 13.2.5.4.
_INLINE = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script", re.DOTALL | re.IGNORECASE)
_POLICY = (
    "default-src 'self'",
    # WebAssembly: the encoder of prompts.
    "script-src 'self' 'wasm-unsafe-eval' {hashes}",
    # Svelte, which Gradio is made with, sets styles in attributes.
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "media-src 'self' blob: data:",
    "worker-src 'self' blob:",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
)


def policy(page: bytes) -> str:
    """The policy of one page: its own inline scripts run, by their hashes, and nothing that a
    script or a user's words put into it later.

    The server puts no user's words into a page, so all that is in it as served is ours.
    """
    scripts = (hashlib.sha256(script).digest() for script in _INLINE.findall(page))
    return _said(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in scripts)


def _said(hashes: Iterable[str]) -> str:
    return "; ".join(_POLICY).format(hashes=" ".join(sorted(set(hashes)))).replace(" ;", ";")


class ContentPolicy:
    """ASGI middleware: gives each HTML page its policy. Pages are held until they are whole."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let all but pages pass as they come."""
        start: Message | None = None
        body = b""

        async def look(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                kind = MutableHeaders(scope=message).get("content-type", "")
                if kind.startswith("text/html"):
                    start = message
                    return
            elif start is not None and message["type"] == "http.response.body":
                body += message.get("body", b"")
                if message.get("more_body"):
                    return
                MutableHeaders(scope=start)["content-security-policy"] = policy(body)
                await send(start)
                message = {"type": "http.response.body", "body": body}
            await send(message)

        await self._app(scope, receive, look if scope["type"] == "http" else send)
