"""/healthz, /readyz, /metrics and /v1/models: what operators and clients ask of the service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from cosyhost import __version__, engines
from cosyhost.errors import Problem
from cosyhost.web.services import Injected, Services

router = APIRouter(tags=["service"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Whether the process answers."""
    return {"status": "ok", "version": __version__}


def readiness(services: Services) -> dict[str, Any]:
    """What the service needs, and whether it is there."""
    report: dict[str, Any] = {"version": __version__, "workers": 0}
    checks: dict[str, Callable[[], object]] = {
        "redis": services.ledger.depth,
        "store": services.store.check,
        "trail": services.trail.check,
    }
    for name, check in checks.items():
        try:
            check()
            report[name] = "ok"
        except Problem as problem:
            report[name] = problem.kind.code
    if report["redis"] == "ok":
        report["workers"] = services.ledger.workers()
        report["modes"] = sorted(services.fleet.modes() or ())
    needed = ["redis", "store", *(["trail"] if services.trail.strict else [])]
    report["ready"] = all(report[name] == "ok" for name in needed) and report["workers"] > 0
    return report


@router.get("/readyz")
async def readyz(services: Injected) -> JSONResponse:
    """Whether a job sent now would be spoken: 200, or 503 and what is missing."""
    report = await run_in_threadpool(readiness, services)
    return JSONResponse(report, 200 if report["ready"] else 503)


@router.get("/metrics", include_in_schema=False)
async def metrics(services: Injected) -> Response:
    """For Prometheus; nginx does not pass it on."""
    text = await run_in_threadpool(services.metrics.exposition)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/v1/models")
async def models(services: Injected) -> dict[str, Any]:
    """The one model this service speaks with, in OpenAI's shape."""
    engine = engines.create(services.config.engine)
    model = {"id": engine.name, "object": "model", "owned_by": "cosyhost"}
    return {"object": "list", "data": [{**model, "preview": engine.preview}]}
