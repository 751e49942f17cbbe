"""/v1/audio/voices as vLLM-Omni has it: the voice library."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BaseModel

from cosyhost import text
from cosyhost.errors import PROMPT_MISSING, UPLOAD_UNKNOWN, Problem
from cosyhost.voices import Voice, clean_name
from cosyhost.web import room
from cosyhost.web.intake import check_prompt
from cosyhost.web.services import Injected
from cosyhost.web.user import User

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
async def list_voices(services: Injected) -> dict[str, Any]:
    """Every stored voice."""
    voices = await run_in_threadpool(services.library.all)
    return {
        "voices": [voice.name for voice in voices],
        "uploaded_voices": [_shown(voice) for voice in voices],
    }


@router.post("")
async def create_voice(
    services: Injected,
    user: User,
    name: Annotated[str, Form()],
    audio_sample: Annotated[
        UploadFile | None, File(description="3 to 30 s of one speaker.")
    ] = None,
    upload: Annotated[str, Form(description="SHA-256 of an upload instead.")] = "",
    ref_text: Annotated[str, Form(description="What the sample says.")] = "",
    consent: Annotated[str, Form(description="Who agreed to the cloning.")] = "",
    speaker_description: Annotated[str, Form()] = "",
) -> dict[str, Any]:
    """Store a voice: it is there only when its audio is whole and valid."""
    clean_name(name)
    text.refuse_control_tokens(ref_text)
    room.check(services)
    if audio_sample is not None:
        prompt = await check_prompt(services, await audio_sample.read())
        prompt_id = await run_in_threadpool(services.library.keep_prompt, prompt)
        seconds = prompt.seconds
    else:
        sent = await run_in_threadpool(services.uploads.finished, user, upload)
        if sent is None:
            raise Problem(UPLOAD_UNKNOWN if upload else PROMPT_MISSING)
        prompt_id, seconds = sent.prompt, sent.seconds
    voice = await run_in_threadpool(
        services.library.create,
        Voice(
            name=name,
            prompt=prompt_id,
            prompt_text=ref_text.strip(),
            description=speaker_description,
            consent=consent,
            seconds=seconds,
            created=time.time(),
        ),
    )
    return {"success": True, "voice": _shown(voice)}


class Renaming(BaseModel):
    """The new name of a voice."""

    name: str


@router.patch("/{name}")
async def rename_voice(services: Injected, name: str, body: Renaming) -> dict[str, Any]:
    """Give a voice another name."""
    voice = await run_in_threadpool(services.library.rename, name, body.name)
    return {"success": True, "voice": _shown(voice)}


@router.get("/{name}/audio", response_class=Response)
async def get_voice_audio(services: Injected, name: str) -> Response:
    """The prompt audio of a voice, to listen to."""
    data = await run_in_threadpool(services.library.listen, name)
    return Response(data, media_type="audio/wav")


@router.delete("/{name}")
async def delete_voice(services: Injected, name: str) -> dict[str, Any]:
    """Remove a voice."""
    await run_in_threadpool(services.library.delete, name)
    return {"success": True, "message": f"Voice {name!r} deleted."}
