"""/v1/uploads/{sha256}: prompt audio in chunks, resumable, each user's apart."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.concurrency import run_in_threadpool

from cosyhost.errors import UPLOAD_OFFSET_WRONG, Problem
from cosyhost.uploads import CHUNK_BYTES, Finished, Progress
from cosyhost.web.services import Injected
from cosyhost.web.user import User

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])

Sha256 = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


def _shown(state: Progress | Finished) -> dict[str, Any]:
    if isinstance(state, Finished):
        return {
            "complete": True,
            "sha256": state.sha256,
            "seconds": state.seconds,
            "sample_rate": state.sample_rate,
        }
    return {"complete": False, "length": state.length, "have": state.have}


def _headers(state: Progress | Finished) -> dict[str, str]:
    offset = state.length if isinstance(state, Finished) else state.offset
    return {
        "Upload-Offset": str(offset),
        "Upload-Length": str(state.length),
        "Upload-Complete": f"?{int(state.complete)}",
        "Cache-Control": "no-store",
    }


@router.get("/{sha256}")
async def get_upload(
    services: Injected, user: User, response: Response, sha256: Sha256
) -> dict[str, Any]:
    """Which chunks are there; a complete upload is checked if it was not yet."""
    state = await run_in_threadpool(services.uploads.look, user, sha256)
    response.headers.update(_headers(state))
    return _shown(state)


@router.head("/{sha256}")
async def head_upload(services: Injected, user: User, sha256: Sha256) -> Response:
    """The same in headers."""
    state = await run_in_threadpool(services.uploads.look, user, sha256)
    return Response(headers=_headers(state))


@router.patch("/{sha256}")
async def patch_upload(
    request: Request,
    services: Injected,
    user: User,
    sha256: Sha256,
    upload_offset: Annotated[int, Header(ge=0)],
    upload_length: Annotated[int, Header(ge=0)],
) -> Response:
    """Take one chunk of 32 KiB (the last may be shorter), at its offset, in any order."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > CHUNK_BYTES:
            raise Problem(UPLOAD_OFFSET_WRONG, offset=upload_offset)
    state = await run_in_threadpool(
        services.uploads.take, user, sha256, upload_length, upload_offset, bytes(data)
    )
    if isinstance(state, Progress):
        return Response(status_code=204, headers=_headers(state))
    body = msgspec.json.encode(_shown(state))
    return Response(body, media_type="application/json", headers=_headers(state))


@router.delete("/{sha256}", status_code=204)
async def delete_upload(services: Injected, user: User, sha256: Sha256) -> None:
    """Forget what was sent and not finished."""
    await run_in_threadpool(services.uploads.drop, user, sha256)
