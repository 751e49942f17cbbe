"""/v1/netcheck: what a client needs to measure its line to this service, in bounded bytes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from cosyhost import __version__, wire
from cosyhost.errors import NETCHECK_TOO_MUCH, Problem
from cosyhost.web.services import Injected, Services

router = APIRouter(prefix="/v1/netcheck", tags=["service"])

DOWNLOAD_BYTES = 4_000_000
UPLOAD_BYTES = 2_000_000
_BLOCK_BYTES = 65_536
# Whoever stands between may neither keep nor shrink what is measured.
_AS_IT_IS = {"Cache-Control": "no-store, no-transform"}


def _upload_limit(services: Services) -> int:
    return min(UPLOAD_BYTES, services.config.limits.body_bytes)


@router.get("")
async def netcheck(services: Injected) -> dict[str, Any]:
    """What the tier asks of the line, what one request may carry, and what a prompt weighs."""
    link = services.config.link
    return {
        "service": "cosyhost",
        "version": __version__,
        "tier": services.config.tier,
        "link": {"min_up_mbit": link.min_up_mbit, "min_down_mbit": link.min_down_mbit},
        "limits": {"download_bytes": DOWNLOAD_BYTES, "upload_bytes": _upload_limit(services)},
        "prompt": {
            "seconds": wire.PROMPT_S,
            "bytes": {way: wire.CODECS[way].weighs(wire.PROMPT_S) for way in wire.PROMPT_WAYS},
        },
    }


@router.get("/ping", status_code=204)
async def ping() -> None:
    """Nothing, for its way there and back."""


@router.get("/download")
async def download(
    size: Annotated[int, Query(alias="bytes", ge=1, le=DOWNLOAD_BYTES)],
) -> Response:
    """Random bytes, which nothing on the way can make smaller."""
    headers = {**_AS_IT_IS, "Content-Length": str(size)}
    return StreamingResponse(_random(size), 200, headers, "application/octet-stream")


async def _random(size: int) -> AsyncIterator[bytes]:
    while size > 0:
        yield os.urandom(min(_BLOCK_BYTES, size))
        size -= _BLOCK_BYTES


@router.post("/upload")
async def upload(request: Request, services: Injected) -> dict[str, int]:
    """Take a body and forget it; answers once all of it has arrived.

    Raises:
        Problem: NETCHECK_TOO_MUCH, before the body is read where its length was declared.
    """
    limit = _upload_limit(services)
    too_much = Problem(NETCHECK_TOO_MUCH, limit=limit)
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_much
    taken = 0
    async for part in request.stream():
        taken += len(part)
        if taken > limit:
            raise too_much
    return {"bytes": taken}
