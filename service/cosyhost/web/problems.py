"""Failures as the client sees them: RFC 9457, and OpenAI's `error` on OpenAI's routes."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from cosyhost.errors import (
    FORMAT_UNKNOWN,
    INTERNAL_ERROR,
    METHOD_NOT_ALLOWED,
    MODE_UNKNOWN,
    NOT_FOUND,
    REQUEST_INVALID,
    Problem,
)
from cosyhost.web.services import Services

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


def response(problem: Problem, path: str) -> JSONResponse:
    """The problem document as a response to a request for `path`."""
    document = problem.document()
    if path.startswith("/v1/audio/"):
        kind = "invalid_request_error" if problem.kind.status < 500 else "server_error"
        document["error"] = {
            "message": problem.sentence("en"),
            "type": kind,
            "param": None,
            "code": problem.kind.code,
        }
    headers = {"Cache-Control": "no-store"}
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    return JSONResponse(document, problem.kind.status, headers, media_type=MEDIA_TYPE)


def internal(error: Exception) -> Problem:
    """An unforeseen failure: its traceback goes to the log, its reference to the user."""
    reference = secrets.token_hex(4)
    log.error("an unforeseen failure", exc_info=error, extra={"reference": reference})
    return Problem(INTERNAL_ERROR, reference=reference)


def _from_validation(error: RequestValidationError) -> Problem:
    """Pydantic's first complaint, as the kind that belongs to its field if there is one."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"] if part not in ("body", "query")) or "body"
    given = str(first.get("input"))[:40]
    if field == "mode":
        return Problem(MODE_UNKNOWN, mode=given)
    if field == "response_format":
        return Problem(FORMAT_UNKNOWN, format=given)
    return Problem(REQUEST_INVALID, field=field, reason=first["msg"])


def install(app: FastAPI, services: Services) -> None:
    """Let every failure of `app` leave as a problem document."""

    def answer(request: Request, problem: Problem) -> JSONResponse:
        services.metrics.problem(problem.kind.code)
        return response(problem, request.url.path)

    async def known(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Problem)
        return answer(request, error)

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return answer(request, _from_validation(error))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        path = request.url.path
        if error.status_code == 404:
            return answer(request, Problem(NOT_FOUND, path=path))
        if error.status_code == 405:
            return answer(request, Problem(METHOD_NOT_ALLOWED, path=path, method=request.method))
        return answer(request, Problem(REQUEST_INVALID, field="body", reason=error.detail))

    async def unknown(request: Request, error: Exception) -> JSONResponse:
        return answer(request, internal(error))

    handlers: dict[type[Exception], Callable[[Request, Exception], Awaitable[JSONResponse]]] = {
        Problem: known,
        RequestValidationError: invalid,
        HTTPException: http,
        Exception: unknown,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
