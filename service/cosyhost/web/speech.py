"""POST /v1/audio/speech as OpenAI has it, with our fields beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Literal, cast

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field

from cosyhost import audio, labels
from cosyhost.jobs import ENDED, Mode, Status
from cosyhost.web import intake
from cosyhost.web.follow import Start, follow
from cosyhost.web.metrics import phases
from cosyhost.web.services import Injected, Services

router = APIRouter(tags=["speech"])

# What nginx logs when a client leaves; nobody reads this answer.
_CLIENT_LEFT = 499

Format = Literal["wav", "flac", "mp3", "opus", "pcm"]


class SpeechBody(BaseModel):
    """The request; unknown fields are ignored, as OpenAI does."""

    input: str = Field(description="The text to speak.")
    model: str = Field("", description="Taken for compatibility; one engine runs per service.")
    voice: str | None = Field(None, description="The name of a stored voice.")
    instructions: str = Field("", description="How to speak, in plain words: mode instruct.")
    response_format: Format = "wav"
    speed: float = Field(1.0, description="0.5 to 2; 1 is the natural speed.")
    stream_format: Literal["audio"] = "audio"
    mode: Mode | None = Field(None, description="Worked out from the other fields when absent.")
    ref_audio: str | None = Field(None, description="Prompt audio as a base64 data: URI.")
    ref_text: str = Field("", description="What the prompt audio says.")
    seed: Annotated[int, Field(ge=0, lt=1 << 31)] | None = None


@router.post("/v1/audio/speech", response_class=Response)
async def create_speech(request: Request, body: SpeechBody, services: Injected) -> Response:
    """Speak. WAV and PCM leave as they are made, the other formats once they are whole."""
    job_id = await intake.accept(
        services,
        intake.Wish(
            text=body.input,
            mode=body.mode,
            voice=body.voice,
            prompt_audio=None if body.ref_audio is None else intake.decode_data_uri(body.ref_audio),
            prompt_text=body.ref_text,
            instruction=body.instructions,
            speed=body.speed,
            seed=body.seed,
        ),
    )
    return await respond(request, services, job_id, body.response_format, cancel=True)


async def respond(
    request: Request, services: Services, job_id: str, response_format: Format, *, cancel: bool
) -> Response:
    """The job's audio as a response. It begins with the first sound, so that a job which fails
    before that is answered with its problem. With `cancel`, a client that leaves ends the job.
    """
    parts = follow(services, job_id)
    first_sound = asyncio.ensure_future(_first_sound(parts))
    leaving = asyncio.ensure_future(_leaving(request))
    await asyncio.wait({first_sound, leaving}, return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    if not first_sound.done():
        first_sound.cancel()
        if cancel:
            await run_in_threadpool(services.ledger.cancel, job_id)
        return Response(status_code=_CLIENT_LEFT)
    start, first = first_sound.result()
    status = await run_in_threadpool(services.ledger.status, job_id)
    sounds = _to_the_end(services, job_id, parts, first, cancel)
    comment = labels.output_comment(status.engine, status.preview, job_id)
    if response_format in ("wav", "pcm"):
        head = audio.wav_header(start.sample_rate, comment) if response_format == "wav" else b""
        return StreamingResponse(
            _with_head(head, sounds),
            media_type=audio.MEDIA_TYPES[response_format],
            headers=_headers(request, status),
        )
    pcm = b"".join([chunk async for chunk in sounds])
    data = await run_in_threadpool(audio.encode, pcm, start.sample_rate, response_format, comment)
    status = await run_in_threadpool(services.ledger.status, job_id)
    media_type = audio.MEDIA_TYPES[response_format]
    return Response(data, media_type=media_type, headers=_headers(request, status))


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
) -> AsyncIterator[bytes]:
    try:
        yield first
        async for part in parts:
            yield cast(bytes, part)
    finally:
        status = await run_in_threadpool(services.ledger.status, job_id)
        if cancel and status.state not in ENDED:
            await run_in_threadpool(services.ledger.cancel, job_id)
            status = await run_in_threadpool(services.ledger.status, job_id)
        if cancel:
            services.metrics.job_ended(status)


async def _with_head(head: bytes, sounds: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if head:
        yield head
    async with aclosing(sounds) as parts:  # type: ignore[type-var]
        async for chunk in parts:
            yield chunk


def _headers(request: Request, status: Status) -> dict[str, str]:
    """Who spoke, and where the seconds went so far (Server-Timing is in milliseconds)."""
    timings = {"upload": getattr(request.state, "upload_s", 0.0), **phases(status)}
    return {
        "X-CosyHost-Job": status.id,
        "X-CosyHost-Engine": f"{status.engine}; preview" if status.preview else status.engine,
        "Server-Timing": ", ".join(
            f"{name};dur={seconds * 1000:.1f}" for name, seconds in timings.items()
        ),
        "Cache-Control": "no-store",
    }
