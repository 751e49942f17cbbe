"""The API's own page: OpenAPI with examples in it, and Swagger UI served from here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse

from cosyhost.errors import INTERNAL_ERROR, Kind
from cosyhost.web.operations import OPERATIONS, Operation
from cosyhost.web.problems import MEDIA_TYPE

_ABOUT = """
Give a text and a voice, get speech. Clients written for OpenAI's speech API work unchanged: set
their `base_url` to this host with `/v1`. In the samples `$COSYHOST` is the address of this host,
such as `http://localhost`, and `prompt.wav` is a recording of 3 to 30 s.

给出文字和音色，得到语音。为 OpenAI 语音接口写的客户端可直接使用：
把 `base_url` 设为本机地址加 `/v1`。
示例中 `$COSYHOST` 是本机地址，`prompt.wav` 是 3 到 30 秒的录音。

**Live text · 边写边说**: the WebSocket `/v1/audio/speech/live`. Send `{"voice": "Alice"}` (or
`ref_upload` with `consent`), then
`{"text": "…"}` as it is written, with `"end": true` in the last; back come
`{"type": "start", "sample_rate": …, "format": "s16le", "label": {…}}`, PCM in binary messages,
`spoken` after each sentence (with its `job` and `label`), and `done`.

**Failures · 错误**: each is a problem document (RFC 9457) with a stable `code`, what is wrong
(`detail`, `detail_zh`) and what to do (`hint`, `hint_zh`); on `/v1/audio/` it has OpenAI's `error`
too. Words in braces stand for figures. 429 and 503 come with `Retry-After`. The door before the
service answers in the same shape: `not_from_here` (403), `not_found` (404), `method_not_allowed`
(405), `body_too_large` (413), `address_too_long` (414), `too_many_requests` (429),
`headers_too_large` (431), `service_starting` (502, 503), `upstream_timeout` (504).
"""
_TAGS = [
    {"name": "speech", "description": "Text to sound · 文字变语音"},
    {"name": "voices", "description": "The voice library · 音色库"},
    {"name": "uploads", "description": "Prompt audio over thin lines · 弱网上传"},
    {"name": "jobs", "description": "Jobs and their outputs · 任务与结果"},
    {"name": "service", "description": "The service itself · 服务状态"},
]
# A figure in a sentence, without the way it is written.
_FIGURE = re.compile(r"\{(\w+)[^}]*\}")
_TEXT = {"type": "string"}
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "hint", "detail_zh", "hint_zh"],
    "properties": {
        **dict.fromkeys(("type", "title", "code"), _TEXT),
        **dict.fromkeys(("detail", "detail_zh", "hint", "hint_zh"), _TEXT),
        "status": {"type": "integer"},
        "error": {"type": "object", "description": "OpenAI's, on /v1/audio/ only."},
    },
}


def install(app: FastAPI, assets: str) -> None:
    """Serve the page at `/docs` with the files below `assets`; it asks no other host."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _describe(
                get_openapi(
                    title="CosyHost",
                    version=app.version,
                    description=_ABOUT,
                    routes=app.routes,
                    tags=_TAGS,
                )
            )
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="CosyHost API",
            swagger_js_url=f"{assets}vendor/swagger-ui-bundle.js",
            swagger_css_url=f"{assets}vendor/swagger-ui.css",
            swagger_favicon_url=f"{assets}vendor/swagger-ui.png",
            # Swagger UI would have the document judged by a host of its makers.
            swagger_ui_parameters={"validatorUrl": None, "tryItOutEnabled": True},
        )


def _describe(document: dict[str, Any]) -> dict[str, Any]:
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            if operation := OPERATIONS.get((method.upper(), path)):
                _fill(route, operation)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = _PROBLEM
    return document


def _fill(route: dict[str, Any], operation: Operation) -> None:
    route["summary"] = f"{operation.en} · {operation.zh}"
    route["description"] = f"{operation.more}\n\n```sh\n{operation.sample}\n```".strip()
    if operation.requests:
        examples = {name: {"value": value} for name, value in operation.requests.items()}
        route["requestBody"]["content"]["application/json"]["examples"] = examples
    route["responses"] = {
        **{str(status): _answer(example) for status, example in operation.answers.items()},
        **_refusals({*operation.kinds, INTERNAL_ERROR}),
    }


def _answer(example: Any) -> dict[str, Any]:
    if example is None:
        return {"description": "No body · 无内容"}
    good = {"description": "OK · 成功"}
    if not any("/" in key for key in example):
        schema = {"type": "object"}
        return {**good, "content": {"application/json": {"schema": schema, "example": example}}}
    content = {
        kind: {"schema": _TEXT, "example": text}
        if text
        else {"schema": {**_TEXT, "format": "binary"}}
        for kind, text in example.items()
    }
    return {**good, "content": content}


def _refusals(kinds: Iterable[Kind]) -> dict[str, Any]:
    """Every refusal by its status, each with its document; figures are left as their names."""
    found: dict[str, Any] = {}
    for kind in sorted(kinds, key=lambda kind: (kind.status, kind.code)):
        answer = found.setdefault(
            str(kind.status),
            {
                "description": "",
                "content": {
                    MEDIA_TYPE: {
                        "schema": {"$ref": "#/components/schemas/Problem"},
                        "examples": {},
                    }
                },
            },
        )
        answer["content"][MEDIA_TYPE]["examples"][kind.code] = {"value": template(kind)}
        answer["description"] += f"{', ' if answer['description'] else ''}`{kind.code}`"
    return found


def template(kind: Kind) -> dict[str, Any]:
    """A kind's problem document with the names of its figures in the place of them."""
    words = {
        "type": f"urn:cosyhost:problem:{kind.code}",
        "title": kind.title,
        "detail": kind.en,
        "detail_zh": kind.zh,
        "hint": kind.hint_en,
        "hint_zh": kind.hint_zh,
        "code": kind.code,
    }
    plain = {name: _FIGURE.sub(r"{\1}", text) for name, text in words.items()}
    return {**plain, "status": kind.status}
