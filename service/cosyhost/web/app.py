"""The app assembled: routes, failures, the studio, and the loop that heals the queue."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import redis
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from starlette.routing import Match

from cosyhost import __version__
from cosyhost.audio import keep_decoder_waiting
from cosyhost.config import Config
from cosyhost.errors import METHOD_NOT_ALLOWED, NOT_FOUND, Problem
from cosyhost.jobs import UNSEEN_S
from cosyhost.web import (
    admin,
    consents,
    health,
    jobs,
    live,
    netcheck,
    problems,
    reference,
    speech,
    studio,
    uploads,
    voices,
)
from cosyhost.web.caching import NoStore
from cosyhost.web.download_clock import DownloadClock
from cosyhost.web.origin import SameOrigin
from cosyhost.web.paths import NoSuchName
from cosyhost.web.policy import ContentPolicy
from cosyhost.web.services import Services, open_services
from cosyhost.web.upload_clock import UploadClock
from cosyhost.web.user import UserCookie

log = logging.getLogger(__name__)

_SWEEP_EVERY_S = 3600
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


async def _tend(services: Services) -> None:
    """Publish lost jobs again, record what ended, once an hour drop prompts nobody wants."""
    rounds = 0
    while True:
        try:
            healed = await run_in_threadpool(services.healer.heal)
            if healed:
                log.warning("%d lost jobs were put back on the queue", healed)
            if rounds % (_SWEEP_EVERY_S // UNSEEN_S) == 0:
                await run_in_threadpool(services.library.sweep)
            await run_in_threadpool(consents.record_ends, services)
        except (redis.RedisError, Problem, OSError) as error:
            log.warning("queue, trail and voices not tended: %s", error)
        rounds += 1
        await asyncio.sleep(UNSEEN_S)


def create_app(config: Config, password: str | None) -> FastAPI:
    """The whole web process as an ASGI app."""
    services = open_services(config, password)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(keep_decoder_waiting)
        tending = asyncio.create_task(_tend(services))
        yield
        tending.cancel()
        await services.streams.aclose()

    app = FastAPI(
        title="CosyHost", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.services = services
    app.add_middleware(DownloadClock, observe=services.metrics.jobs.downloaded)
    app.add_middleware(UserCookie)
    app.add_middleware(NoStore)
    app.add_middleware(ContentPolicy)
    app.add_middleware(UploadClock, limit_bytes=config.limits.body_bytes)
    app.add_middleware(SameOrigin)
    app.add_middleware(NoSuchName)
    problems.install(app, services)
    for module in (speech, live, voices, uploads, jobs, netcheck, health, admin):
        app.include_router(module.router)

    # The studio is mounted at `/` and would answer for what the API does not have.
    @app.api_route("/v1/{path:path}", methods=_METHODS, include_in_schema=False)
    async def nothing_here(request: Request) -> None:
        known = any(route.matches(request.scope)[0] is Match.PARTIAL for route in app.routes)
        kind = METHOD_NOT_ALLOWED if known else NOT_FOUND
        raise Problem(kind, path=request.url.path, method=request.method)

    reference.install(app, studio.assets_path())
    return studio.mount(app, services)
