"""/v1/audio/voices as vLLM-Omni has it: the voice library."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BaseModel

from cosyhost import text
from cosyhost.audio import read_prompt
from cosyhost.errors import PROMPT_MISSING, UPLOAD_UNKNOWN, Problem
from cosyhost.trail import Entry, Event
from cosyhost.voices import Voice, clean_name
from cosyhost.web import consents, room
from cosyhost.web.services import Injected, Services
from cosyhost.web.user import Owner, address_of, user_id

router = APIRouter(prefix="/v1/audio/voices", tags=["voices"])


def _shown(voice: Voice) -> dict[str, Any]:
    return {
        "name": voice.name,
        "ref_text": voice.prompt_text,
        "speaker_description": voice.description,
        "consent": voice.consent,
        "created_at": int(voice.created),
        "duration_s": round(voice.seconds, 2),
    }


@router.get("")
async def list_voices(services: Injected, owner: Owner) -> dict[str, Any]:
    """Every stored voice that is yours to use."""
    voices = await run_in_threadpool(services.library.all, owner)
    return {
        "voices": [voice.name for voice in voices],
        "uploaded_voices": [_shown(voice) for voice in voices],
    }


@router.post("")
async def create_voice(
    request: Request,
    services: Injected,
    owner: Owner,
    name: Annotated[str, Form()],
    audio_sample: Annotated[
        UploadFile | None, File(description="3 to 30 s of one speaker.")
    ] = None,
    upload: Annotated[str, Form(description="SHA-256 of an upload instead.")] = "",
    ref_text: Annotated[str, Form(description="What the sample says.")] = "",
    consent: Annotated[
        str,
        Form(
            max_length=consents.MOST_CHARS,
            description="Who agreed to the cloning, the id of a record of it, or `true`.",
        ),
    ] = "",
    speaker_description: Annotated[str, Form()] = "",
) -> dict[str, Any]:
    """Store a voice: it is there only when its audio is whole and valid."""
    sample = None if audio_sample is None else await audio_sample.read()
    agreed = consents.given(consent)

    def keep() -> Voice:
        with _recorded(services, request, "voice_added", name=name[:64], consent=agreed) as entry:
            clean_name(name)
            text.refuse_control_tokens(ref_text)
            room.check(services)
            consents.need(services, agreed)
            prompt_id, seconds = _prompt(services, request.state.user, sample, upload)
            voice = Voice(
                name=name,
                prompt=prompt_id,
                prompt_text=ref_text.strip(),
                description=speaker_description,
                consent=agreed,
                seconds=seconds,
                created=time.time(),
                owner=owner,
            )
            entry.accept(voice=prompt_id)
            return services.library.create(voice)

    return {"success": True, "voice": _shown(await run_in_threadpool(keep))}


@contextmanager
def _recorded(services: Services, request: Request, event: Event, **known: Any) -> Iterator[Entry]:
    """A change of the library, in the trail: accepted within, done at the end."""
    user, address = user_id(request.state.user), address_of(request)
    with services.trail.about(event, user=user, address=address, **known) as entry:
        yield entry
    entry.end("done")


def _prompt(services: Services, user: str, sample: bytes | None, upload: str) -> tuple[str, float]:
    """The id of the prompt that was sent, now or before, and its seconds."""
    if sample is not None:
        prompt = read_prompt(sample, services.config.limits.body_bytes)
        return services.library.keep_prompt(prompt), prompt.seconds
    sent = services.uploads.finished(user, upload)
    if sent is None:
        raise Problem(UPLOAD_UNKNOWN if upload else PROMPT_MISSING)
    return sent.prompt, sent.seconds


class Renaming(BaseModel):
    """The new name of a voice."""

    name: str


@router.patch("/{name}")
async def rename_voice(
    request: Request, services: Injected, owner: Owner, name: str, body: Renaming
) -> dict[str, Any]:
    """Give a voice another name."""

    def rename() -> Voice:
        with _recorded(services, request, "voice_renamed", name=name[:64]) as entry:
            old = services.library.own(name, owner)
            new_name = clean_name(body.name)
            entry.accept(name=old.name, new_name=new_name, voice=old.prompt)
            return services.library.rename(name, new_name, owner)

    return {"success": True, "voice": _shown(await run_in_threadpool(rename))}


@router.get("/{name}/audio", response_class=Response)
async def get_voice_audio(services: Injected, owner: Owner, name: str) -> Response:
    """The prompt audio of a voice, to listen to."""
    data = await run_in_threadpool(services.library.listen, name, owner)
    return Response(data, media_type="audio/wav")


@router.delete("/{name}")
async def delete_voice(
    request: Request, services: Injected, owner: Owner, name: str
) -> dict[str, Any]:
    """Remove a voice."""

    def delete() -> None:
        with _recorded(services, request, "voice_deleted", name=name[:64]) as entry:
            voice = services.library.own(name, owner)
            entry.accept(name=voice.name, voice=voice.prompt)
            services.library.delete(name, owner)

    await run_in_threadpool(delete)
    return {"success": True, "message": f"Voice {name!r} deleted."}
