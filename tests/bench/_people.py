"""The light browsers of `crowd.py`: `python -m tests.bench._people`, with the network of a client.

Reads a `Plan` from stdin. When all pages are loaded it prints a line and waits for one; then people
upload, each over a line of their own, and it prints a `Report`. It ends when its stdin does, and
holds until then what a page holds open.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import secrets
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx

CHUNK_BYTES, LANES = 32_768, 4  # as uploader.js has them
CONNECTIONS = 6  # a browser's, to one host
# What the page asks for again while it is open (restart.js, CALM_MS).
POLLED, POLL_S = "/v1/admin/state", 10.0
LOADING_AT_ONCE = 5


@dataclass(frozen=True)
class Asked:
    """A request that a real browser's page made; `held`: its answer had not ended."""

    method: str
    path: str
    body: str | None
    kind: str
    held: bool


@dataclass(frozen=True)
class Plan:
    """What the people do. `session` is the recorded page's own word for itself in its requests."""

    url: str
    page: list[Asked]
    session: str
    idle: list[str]  # source addresses, one for each person
    busy: list[str]
    voices: list[str]  # base64
    seconds: float
    uplink_bps: float


@dataclass
class Report:
    """What came of it."""

    uploads: int = 0
    seconds: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)


class Person:
    """Somebody with a browser at an address of their own."""

    def __init__(self, plan: Plan, address: str, report: Report) -> None:
        self.plan = plan
        self.address = address
        self.report = report
        self.client = self._browser()
        self.holding: list[asyncio.Task[None]] = []

    def _browser(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=CONNECTIONS + 4, keepalive_expiry=60)
        return httpx.AsyncClient(
            base_url=self.plan.url,
            transport=httpx.AsyncHTTPTransport(local_address=self.address, limits=limits),
            headers={"Accept-Language": "en-GB"},
            timeout=60,
        )

    async def load(self) -> None:
        """Every request of the real page, under a session of this person's own."""
        own = secrets.token_hex(6)
        lanes = asyncio.Semaphore(CONNECTIONS)
        waiting: list[asyncio.Task[None]] = []
        for at, asked in enumerate(self.plan.page):
            path, body = asked.path, asked.body
            if self.plan.session:
                path = path.replace(self.plan.session, own)
                body = body.replace(self.plan.session, own) if body else None
            task = asyncio.create_task(self._fetch(asked, path, body, lanes))
            (self.holding if asked.held else waiting).append(task)
            if at == 0 or asked.method != "GET":  # what comes next follows from the answer
                await asyncio.gather(*waiting)
        await asyncio.gather(*waiting)
        if polled := next((asked for asked in self.plan.page if asked.path == POLLED), None):
            self.holding.append(asyncio.create_task(self._poll(polled, lanes)))

    async def _poll(self, asked: Asked, lanes: asyncio.Semaphore) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            await self._fetch(asked, asked.path, None, lanes)

    async def _fetch(
        self, asked: Asked, path: str, body: str | None, lanes: asyncio.Semaphore
    ) -> None:
        async with lanes if not asked.held else contextlib.nullcontext():
            headers = {"Content-Type": asked.kind} if body else {}
            try:
                request = self.client.stream(
                    asked.method, path, content=body, headers=headers,
                    timeout=httpx.Timeout(60, read=None if asked.held else 60),
                )  # fmt: skip
                async with request as answer:
                    if answer.status_code >= 400:
                        self._went_wrong(f"{asked.method} {asked.path}: {answer.status_code}")
                    async for _ in answer.aiter_raw():
                        pass
            except httpx.HTTPError as error:
                self._went_wrong(f"{asked.method} {asked.path}: {error!r}")

    async def upload(self, until: float) -> None:
        """One voice after the other, as uploader.js sends them, until the time is up."""
        line = Line(self.plan.uplink_bps)
        while time.monotonic() < until:
            for encoded in self.plan.voices:
                if time.monotonic() >= until:
                    break
                try:
                    await self._send(base64.b64decode(encoded), line)
                    self.report.uploads += 1
                except (httpx.HTTPError, UploadFailed) as error:
                    self._went_wrong(f"upload: {error!r}")
            self.client.cookies.clear()  # to whom nothing is known yet

    async def _send(self, data: bytes, line: Line) -> None:
        url = f"/v1/uploads/{hashlib.sha256(data).hexdigest()}"
        if (await self.client.get(url)).status_code != 404:
            raise UploadFailed("it was known already")
        missing = list(range(0, len(data), CHUNK_BYTES))
        answers: list[int] = []

        async def lane() -> None:
            while missing:
                at = missing.pop(0)
                headers = {
                    "Content-Type": "application/offset+octet-stream",
                    "Upload-Offset": str(at),
                    "Upload-Length": str(len(data)),
                    "Content-Length": str(len(data[at : at + CHUNK_BYTES])),
                }
                chunk = line.carry(data[at : at + CHUNK_BYTES])
                answers.append(
                    (await self.client.patch(url, content=chunk, headers=headers)).status_code
                )

        await asyncio.gather(*(lane() for _ in range(LANES)))
        if sorted(answers) != [200] + [204] * (len(answers) - 1):
            raise UploadFailed(str(Counter(answers)))

    def _went_wrong(self, what: str) -> None:
        self.report.errors[what] += 1


class UploadFailed(Exception):
    """The service did not take a valid voice."""


class Line:
    """A person's uplink: all that they send shares it."""

    def __init__(self, bps: float) -> None:
        self._bps = bps
        self._free_at = 0.0

    async def carry(self, data: bytes) -> AsyncIterator[bytes]:
        """The bytes, as the line lets them through."""
        for at in range(0, len(data), 4096):
            part = data[at : at + 4096]
            now = time.monotonic()
            self._free_at = max(now, self._free_at) + len(part) * 8 / self._bps
            await asyncio.sleep(self._free_at - now)
            yield part


async def _main() -> None:
    given = json.loads(sys.stdin.readline())
    plan = Plan(**{**given, "page": [Asked(**asked) for asked in given["page"]]})
    report = Report()
    idle = [Person(plan, address, report) for address in plan.idle]
    busy = [Person(plan, address, report) for address in plan.busy]
    turns = asyncio.Semaphore(LOADING_AT_ONCE)

    async def arrive(person: Person) -> None:
        async with turns:
            await person.load()

    await asyncio.gather(*(arrive(person) for person in [*idle, *busy]))
    print(f"{len(idle)} idle, {len(busy)} about to upload", flush=True)
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin
    )
    await stdin.readline()
    began = time.monotonic()
    await asyncio.gather(*(person.upload(began + plan.seconds) for person in busy))
    report.seconds = time.monotonic() - began
    print(json.dumps(vars(report)), flush=True)
    await stdin.read()
    for person in [*idle, *busy]:
        for task in person.holding:
            task.cancel()
        await asyncio.gather(*person.holding, return_exceptions=True)
        await person.client.aclose()


if __name__ == "__main__":
    asyncio.run(_main())
