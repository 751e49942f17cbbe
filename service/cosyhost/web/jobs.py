"""/v1/jobs/{id}: where a job stands, its audio, and its cancellation."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import soundfile
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse

from cosyhost import audio, labels, tags
from cosyhost.errors import JOB_UNKNOWN, OUTPUT_GONE, Problem
from cosyhost.jobs import ENDED, Status, output_key
from cosyhost.web import blob, intake
from cosyhost.web.anatomy import phases, server_timing
from cosyhost.web.download_clock import Download
from cosyhost.web.follow import raise_unless_done
from cosyhost.web.services import Injected, Services
from cosyhost.web.speech import Format, SpeechBody, respond, wish_of
from cosyhost.web.user import Reader, User

# How often a followed job is looked at, and how long a silent stream stays silent.
_LOOK_S = 0.25
_QUIET_S = 15.0
_RECONNECT_MS = 2000

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


def shown(services: Services, status: Status) -> dict[str, Any]:
    """The job as its client sees it; times in seconds."""
    document: dict[str, Any] = {
        "id": status.id,
        "state": status.state,
        "mode": status.mode,
        "engine": status.engine or None,
        "preview": status.preview,
        "attempts": status.attempts,
        "position": status.position,
        "eta_s": eta_s(services, status),
        "created_at": round(status.created, 3),
        "title": status.title,
        "spoken_s": status.spoken_s,
        "audio_s": status.audio_s,
        "upload_bytes": status.upload_bytes,
        "timings_s": {name: round(seconds, 3) for name, seconds in phases(status).items()},
    }
    if status.problem is not None:
        document["problem"] = status.problem.document()
    return document


def _status(services: Services, job_id: str, reader: str) -> Status:
    """The job, if it is the reader's; where none is named, who knows its id may have it."""
    status = services.ledger.status(job_id)
    if reader and status.user != reader:
        raise Problem(JOB_UNKNOWN, job=job_id[:64])
    return status


def eta_s(services: Services, status: Status) -> float | None:
    """Seconds until a waiting job begins, as a guess: its place times the mean job by children."""
    if status.position is None:
        return None
    children = max(1, services.ledger.workers())
    return round(status.position * services.ledger.mean_job_s() / children, 1)


@router.post("", status_code=202)
async def submit_job(
    request: Request, response: Response, services: Injected, body: SpeechBody
) -> dict[str, Any]:
    """Queue a job as POST /v1/audio/speech does, and answer at once with where it stands."""
    job_id = await intake.accept(services, wish_of(body, request))
    response.headers["Location"] = f"/v1/jobs/{job_id}"
    return await get_job(services, "", job_id)


@router.get("")
async def list_jobs(services: Injected, user: User) -> dict[str, Any]:
    """This browser's last jobs, newest first."""

    def look() -> list[dict[str, Any]]:
        return [shown(services, status) for status in services.ledger.history(user)]

    return {"jobs": await run_in_threadpool(look)}


@router.get("/{job_id}")
async def get_job(services: Injected, reader: Reader, job_id: str) -> dict[str, Any]:
    """State, place in the queue, and where the seconds went."""

    def look() -> dict[str, Any]:
        return shown(services, _status(services, job_id, reader))

    return await run_in_threadpool(look)


@router.get("/{job_id}/events", response_class=StreamingResponse)
async def get_events(services: Injected, reader: Reader, job_id: str) -> StreamingResponse:
    """Server-sent events: the job's document at every change, until it has ended."""
    first = await get_job(services, reader, job_id)

    async def events() -> AsyncIterator[str]:
        document, last, quiet_s = first, "", 0.0
        yield f"retry: {_RECONNECT_MS}\n\n"
        while True:
            if (data := json.dumps(document)) != last:
                yield f"data: {data}\n\n"
                last, quiet_s = data, 0.0
            elif quiet_s >= _QUIET_S:
                yield ": still here\n\n"
                quiet_s = 0.0
            if document["state"] in ENDED:
                return
            await asyncio.sleep(_LOOK_S)
            quiet_s += _LOOK_S
            document = await get_job(services, reader, job_id)

    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(events(), media_type="text/event-stream", headers=headers)


@router.delete("/{job_id}", response_model=None)
async def cancel_job(
    services: Injected, user: User, job_id: str, forget: bool = False
) -> dict[str, Any] | Response:
    """Cancel: a waiting job is not begun, a running one stops at its next chunk.

    With `forget` the job, its place in its user's history and its output are removed as well.
    """

    def cancel() -> dict[str, Any] | Response:
        owner = services.ledger.status(job_id).user
        if owner and owner != user or reader and owner != reader:
            raise Problem(JOB_UNKNOWN, job=job_id[:64])
        services.ledger.cancel(job_id)
        if not forget:
            return shown(services, services.ledger.status(job_id))
        # In this order: an output that is written after the cancellation its worker removes, and
        # while the job is known it can be forgotten again.
        services.store.delete(output_key(job_id))
        services.ledger.forget(job_id, owner)
        return Response(status_code=204)

    return await run_in_threadpool(cancel)


@router.get("/{job_id}/audio", response_class=Response)
async def get_audio(
    request: Request,
    services: Injected,
    reader: Reader,
    job_id: str,
    response_format: Format = "wav",
) -> Response:
    """The output: from the store once the job is done, as it is made before that."""
    status = await run_in_threadpool(_status, services, job_id, reader)
    raise_unless_done(status)
    if status.state != "done":
        return await respond(request, services, job_id, response_format, cancel=False)

    timings = phases(status)

    def fetch() -> tuple[bytes, labels.Label]:
        data = services.store.get(output_key(job_id))
        if data is None:
            raise Problem(OUTPUT_GONE)
        services.store.used(output_key(job_id))
        label = _label_in(data)
        if label is not None and response_format == "wav":
            return data, label
        encoding = time.monotonic()
        samples, sample_rate = soundfile.read(io.BytesIO(data), dtype="int16")
        label = label or _label_of(services, status)
        encoded = audio.encode(samples.tobytes(), sample_rate, response_format, label)
        timings["encode"] += time.monotonic() - encoding
        return encoded, label

    data, label = await run_in_threadpool(fetch)
    headers = {
        # No name here: a browser would prefer it to the one its page gives the download.
        "Content-Disposition": "inline",
        "Cache-Control": "private, max-age=3600",
        "X-CosyHost-Engine": f"{status.engine}; preview" if status.preview else status.engine,
        **label.header(),
        **server_timing(timings, status.upload_bytes),
    }
    response = blob.respond(request, data, audio.MEDIA_TYPES[response_format], headers)
    request.state.download = Download(status.mode, status.engine, response_format)
    return response


def _label_in(data: bytes) -> labels.Label | None:
    """What the output was labelled with when it was made; other formats go on saying it."""
    found = tags.read(io.BytesIO(data))
    return labels.read(found.comments, found.aigc).label


def _label_of(services: Services, status: Status) -> labels.Label:
    """For an output of a release that did not label as this one does."""
    return labels.Label(
        engine=status.engine,
        preview=status.preview,
        created=labels.utc(status.first_audio or status.created),
        job=status.id,
        producer=services.config.label.producer,
    )
