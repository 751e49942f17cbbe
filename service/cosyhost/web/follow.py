"""A job's audio as it is made: the reader's end of the Redis stream."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import redis
from fastapi.concurrency import run_in_threadpool

from cosyhost.errors import ENGINE_FAILED, JOB_CANCELLED, QUEUE_UNAVAILABLE, Problem
from cosyhost.jobs import ENDED, Status, audio_stream_key
from cosyhost.web.services import Services

_BLOCK_MS = 2000


@dataclass(frozen=True)
class Start:
    """Sent once, before the first PCM: who speaks, and the seconds it took until now.

    `first_audio` is when the job's first sound was made, in Unix seconds.
    """

    sample_rate: int
    mode: str
    engine: str
    preview: bool
    upload_bytes: int
    upload_s: float
    queue_s: float
    ttfa_s: float
    first_audio: float


async def follow(services: Services, job_id: str) -> AsyncIterator[Start | bytes]:
    """Yield `Start`, then the 16-bit mono PCM of the job from its beginning, and end with it.

    A job that broke off and runs again sends its audio anew; what was yielded already is skipped,
    so that nobody hears it twice.

    Raises:
        Problem: what the job failed of, JOB_CANCELLED, JOB_UNKNOWN or QUEUE_UNAVAILABLE.
    """
    stream, last = audio_stream_key(job_id), "0"
    attempt = sent = skip = 0
    while True:
        entries = await _read(services, stream, last)
        if not entries:
            status = await run_in_threadpool(services.ledger.status, job_id)
            if status.state in ENDED:  # the end mark came and went before we looked
                raise_unless_done(status)
                return
            continue
        for entry_id, fields in entries:
            last = entry_id
            if b"start" in fields:
                attempt, skip = int(fields[b"start"]), sent
                if not sent:
                    yield _start(fields)
            elif b"pcm" in fields and int(fields[b"attempt"]) == attempt:
                pcm = fields[b"pcm"]
                fresh, skip = pcm[skip:], max(0, skip - len(pcm))
                if fresh:
                    sent += len(fresh)
                    yield fresh
            elif b"end" in fields:
                if fields[b"end"] != b"done":  # only a good end says all there is to say
                    raise_unless_done(await run_in_threadpool(services.ledger.status, job_id))
                return


def _start(fields: dict[bytes, Any]) -> Start:
    return Start(
        sample_rate=int(fields[b"rate"]),
        # A worker of the release before says neither this, nor the bytes, nor the last.
        mode=fields.get(b"mode", b"unknown").decode(),
        engine=fields[b"engine"].decode(),
        preview=fields[b"preview"] == b"1",
        upload_bytes=int(fields.get(b"upload_bytes", 0)),
        upload_s=float(fields[b"upload_s"]),
        queue_s=float(fields[b"queue_s"]),
        ttfa_s=float(fields[b"ttfa_s"]),
        first_audio=float(fields.get(b"first_audio", time.time())),
    )


async def _read(services: Services, stream: str, last: str) -> list[tuple[str, dict[bytes, Any]]]:
    try:
        answer: Any = await services.streams.xread({stream: last}, count=64, block=_BLOCK_MS)
    except redis.RedisError as error:
        raise Problem(QUEUE_UNAVAILABLE, retry_after_s=5) from error
    if not answer:
        return []
    entries = answer[0][1] if isinstance(answer, list) else next(iter(answer.values()))[0]
    return [(entry_id.decode(), fields) for entry_id, fields in entries]


def raise_unless_done(status: Status) -> None:
    """Turn a job's bad end into the problem its client is shown."""
    if status.state == "cancelled":
        raise Problem(JOB_CANCELLED)
    if status.state == "failed":
        raise status.problem or Problem(ENGINE_FAILED, reason="unknown")
