"""A whole file as a response: with a validator, and by ranges, so that players can seek in it."""

from __future__ import annotations

import hashlib
import re

from fastapi import Request
from fastapi.responses import Response

from cosyhost.errors import RANGE_NOT_SATISFIABLE, Problem

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def respond(request: Request, data: bytes, media_type: str, headers: dict[str, str]) -> Response:
    """`data`, or what of it is asked for: RFC 9110, 13.1.2 (If-None-Match), 14.2 (Range).

    Several ranges at once are answered with the whole, which that RFC allows.

    Raises:
        Problem: RANGE_NOT_SATISFIABLE.
    """
    etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = headers | {"ETag": etag, "Accept-Ranges": "bytes"}
    known = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
    if etag in known or f"W/{etag}" in known or known == ["*"]:
        return Response(status_code=304, headers=headers)
    asked = _RANGE.fullmatch(request.headers.get("range", "").strip())
    fits = request.headers.get("if-range", etag) == etag
    if asked is None or not fits or asked[0] == "bytes=-":
        return Response(data, media_type=media_type, headers=headers)
    if asked[1]:
        first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
    else:
        first, last = max(0, len(data) - int(asked[2])), len(data) - 1
    if first > last:
        raise Problem(RANGE_NOT_SATISFIABLE, size=len(data))
    headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
    return Response(data[first : last + 1], 206, headers, media_type)
