"""What the routes work with: one object, made once when the app is assembled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

import redis.asyncio
from fastapi import Depends, Request

from cosyhost import engines
from cosyhost.config import Config
from cosyhost.jobs import Broker, Fleet, Healer, Ledger, connect
from cosyhost.store import Store
from cosyhost.systemd import logs_folder
from cosyhost.trail import Trail
from cosyhost.uploads import Uploads
from cosyhost.voices import Library
from cosyhost.web.metrics import Metrics


@dataclass(frozen=True)
class Services:
    """The work floor, opened for this process."""

    config: Config
    ledger: Ledger
    fleet: Fleet
    broker: Broker
    healer: Healer
    store: Store
    library: Library
    uploads: Uploads
    trail: Trail
    streams: redis.asyncio.Redis
    metrics: Metrics


def open_services(config: Config, password: str | None) -> Services:
    """Open everything; connections are made at first use."""
    client = connect(config, password)
    store = Store(config.store)
    library = Library(store)
    ledger = Ledger(
        client,
        waiting_limit=config.limits.waiting_jobs,
        keep_s=config.jobs.keep_s,
    )
    broker = Broker(config, password)
    fleet = Fleet(client)
    return Services(
        config=config,
        ledger=ledger,
        fleet=fleet,
        broker=broker,
        healer=Healer(client, ledger, broker),
        store=store,
        library=library,
        uploads=Uploads(client, library, config.limits.body_bytes),
        trail=Trail(logs_folder(), strict=config.consent == "required"),
        streams=redis.asyncio.Redis.from_url(
            config.redis.url,
            password=password,
            # Longer than a blocking read, or each quiet read would count as a broken one.
            socket_timeout=10,
            socket_connect_timeout=3,
            health_check_interval=5,
        ),
        metrics=Metrics(ledger, fleet, engines.create(config.engine)),
    )


# Not `def`: that would cost each request a thread.
async def _services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


Injected = Annotated[Services, Depends(_services)]
"""The type of a route's parameter that receives the services."""
