"""POST /v1/audio/speech as OpenAI has it, with our fields beside it."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Literal, cast

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field

from cosyhost import audio
from cosyhost.jobs import Mode
from cosyhost.labels import Label, utc
from cosyhost.web import consents, intake
from cosyhost.web.anatomy import phases, server_timing
from cosyhost.web.download_clock import Download
from cosyhost.web.follow import Start, follow
from cosyhost.web.services import Injected, Services
from cosyhost.web.user import address_of

log = logging.getLogger(__name__)

router = APIRouter(tags=["speech"])

# What nginx logs when a client leaves; nobody reads this answer.
_CLIENT_LEFT = 499

# Jobs whose listener is gone, while the ledger is told.
_closing: set[asyncio.Task[bool]] = set()

Format = Literal["wav", "flac", "mp3", "opus", "pcm"]


class SpeechBody(BaseModel):
    """The request; unknown fields are ignored, as OpenAI does."""

    input: str = Field(description="The text to speak.")
    model: str = Field("", description="Taken for compatibility; one engine runs per service.")
    voice: str | None = Field(None, description="The name of a stored voice.")
    instructions: str = Field("", description="How to speak, in plain words: mode instruct.")
    response_format: Format = "wav"
    speed: float = Field(1.0, description="0.5 to 2; 1 is the natural speed.")
    stream_format: Literal["audio", "sse"] = Field(
        "audio", description="sse: events with base64 PCM, as OpenAI sends them."
    )
    mode: Mode | None = Field(None, description="Worked out from the other fields when absent.")
    ref_audio: str | None = Field(None, description="Prompt audio as a base64 data: URI.")
    ref_upload: str | None = Field(None, description="SHA-256 of an upload (/v1/uploads).")
    ref_text: str = Field("", description="What the prompt audio says.")
    consent: bool | Annotated[str, Field(max_length=consents.MOST_CHARS)] | None = Field(
        None,
        description="Who agreed to the cloning, the id of a record of it, or `true`: you may use "
        "this voice. A stored voice brings its own.",
    )
    upload_s: Annotated[float, Field(ge=0, lt=86400)] = Field(
        0.0, description="Seconds the user waited for `ref_upload`; told back in `timings_s`."
    )
    upload_bytes: Annotated[int, Field(ge=0, lt=1 << 40)] = Field(
        0, description="Bytes of `ref_upload` that went in those seconds; told back."
    )
    seed: Annotated[int, Field(ge=0, lt=1 << 31)] | None = None


def wish_of(body: SpeechBody, request: Request) -> intake.Wish:
    """The request as the intake takes it."""
    return intake.Wish(
        text=body.input,
        mode=body.mode,
        voice=body.voice,
        prompt_audio=None if body.ref_audio is None else intake.decode_data_uri(body.ref_audio),
        upload=body.ref_upload,
        prompt_text=body.ref_text,
        instruction=body.instructions,
        speed=body.speed,
        seed=body.seed,
        user=request.state.user,
        owner=request.state.owner,
        address=address_of(request),
        consent=body.consent,
        upload_s=body.upload_s + getattr(request.state, "upload_s", 0.0),
        # How much of an upload came while somebody waited for it only their browser knows.
        upload_bytes=body.upload_bytes
        if body.ref_upload
        else int(request.headers.get("content-length", 0)),
    )


@router.post("/v1/audio/speech", response_class=Response)
async def create_speech(request: Request, body: SpeechBody, services: Injected) -> Response:
    """Speak. WAV and PCM leave as they are made, the other formats once they are whole."""
    job_id = await intake.accept(services, wish_of(body, request))
    if body.stream_format == "sse":
        return await respond_events(request, services, job_id)
    return await respond(request, services, job_id, body.response_format, cancel=True)


async def respond(
    request: Request, services: Services, job_id: str, response_format: Format, *, cancel: bool
) -> Response:
    """The job's audio as a response. It begins with the first sound, so that a job which fails
    before that is answered with its problem. With `cancel`, a client that leaves ends the job.
    """
    begun = await _begin(request, services, job_id, cancel)
    if begun is None:
        return Response(status_code=_CLIENT_LEFT)
    start, sounds = begun
    download = Download(start.mode, start.engine, response_format)
    label = label_of(services, job_id, start)
    if response_format in ("wav", "pcm"):
        request.state.download = download
        head = audio.wav_header(start.sample_rate, label) if response_format == "wav" else b""
        return StreamingResponse(
            _with_head(head, sounds),
            media_type=audio.MEDIA_TYPES[response_format],
            headers=_headers(job_id, start)
            | label.header()
            | {"X-CosyHost-Sample-Rate": str(start.sample_rate)},
        )
    pcm = b"".join([chunk async for chunk in sounds])
    encoding = time.monotonic()
    data = await run_in_threadpool(audio.encode, pcm, start.sample_rate, response_format, label)
    encode_s = time.monotonic() - encoding
    timings = phases(await run_in_threadpool(services.ledger.status, job_id))
    timings["encode"] += encode_s
    headers = _headers(job_id, start, timings) | label.header()
    request.state.download = download
    return Response(data, media_type=audio.MEDIA_TYPES[response_format], headers=headers)


async def respond_events(request: Request, services: Services, job_id: str) -> Response:
    """The job's audio as OpenAI's speech.audio.delta events, then speech.audio.done."""
    begun = await _begin(request, services, job_id, cancel=True)
    if begun is None:
        return Response(status_code=_CLIENT_LEFT)
    start, sounds = begun
    request.state.download = Download(start.mode, start.engine, "sse")

    async def events() -> AsyncIterator[str]:
        async with aclosing(sounds):
            async for chunk in sounds:
                audio_base64 = base64.b64encode(chunk).decode()
                yield _event({"type": "speech.audio.delta", "audio": audio_base64})
        yield _event({"type": "speech.audio.done"})

    label = label_of(services, job_id, start)
    headers = _headers(job_id, start) | label.header() | {"X-Accel-Buffering": "no"}
    return StreamingResponse(events(), media_type="text/event-stream", headers=headers)


def label_of(services: Services, job_id: str, start: Start) -> Label:
    """What the job's sound says of itself, as its stored output will."""
    return Label(
        engine=start.engine,
        preview=start.preview,
        created=utc(start.first_audio),
        job=job_id,
        producer=services.config.label.producer,
    )


def _event(document: dict[str, str]) -> str:
    return f"data: {json.dumps(document)}\n\n"


async def _begin(
    request: Request, services: Services, job_id: str, cancel: bool
) -> tuple[Start, AsyncGenerator[bytes, None]] | None:
    """Wait for the first sound; None when the client leaves before it."""
    parts = follow(services, job_id)
    first_sound = asyncio.ensure_future(_first_sound(parts))
    leaving = asyncio.ensure_future(_leaving(request))
    await asyncio.wait({first_sound, leaving}, return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    if not first_sound.done():
        first_sound.cancel()
        if cancel:
            await run_in_threadpool(services.ledger.cancel, job_id)
        return None
    start, first = first_sound.result()
    return start, _to_the_end(services, job_id, parts, first, cancel)


async def _first_sound(parts: AsyncIterator[Start | bytes]) -> tuple[Start, bytes]:
    start = cast(Start, await anext(parts))
    return start, cast(bytes, await anext(parts))


async def _leaving(request: Request) -> None:
    """Returns when the client goes away; its body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _to_the_end(
    services: Services,
    job_id: str,
    parts: AsyncIterator[Start | bytes],
    first: bytes,
    cancel: bool,
) -> AsyncGenerator[bytes, None]:
    ended = False
    try:
        yield first
        async for part in parts:
            yield cast(bytes, part)
        ended = True
    finally:
        if cancel and not ended:
            # A task of its own: where the client left, this one is cancelled and may not wait.
            task = asyncio.create_task(run_in_threadpool(services.ledger.cancel, job_id))
            _closing.add(task)
            task.add_done_callback(_closed)


def _closed(task: asyncio.Task[bool]) -> None:
    _closing.discard(task)
    if not task.cancelled() and task.exception() is not None:
        log.warning("a job whose listener left was not cancelled: %s", task.exception())


async def _with_head(head: bytes, sounds: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    if head:
        yield head
    async with aclosing(sounds):
        async for chunk in sounds:
            yield chunk


def _headers(job_id: str, start: Start, timings: dict[str, float] | None = None) -> dict[str, str]:
    """Who speaks, and where the seconds went so far."""
    if timings is None:
        timings = {"upload": start.upload_s, "queue": start.queue_s, "ttfa": start.ttfa_s}
    return {
        "X-CosyHost-Job": job_id,
        "X-CosyHost-Engine": f"{start.engine}; preview" if start.preview else start.engine,
        **server_timing(timings, start.upload_bytes),
    }
