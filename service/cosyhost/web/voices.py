"""/v1/audio/voices as vLLM-Omni has it: the voice library."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, File, Form, UploadFile
from fastapi.concurrency import run_in_threadpool

from cosyhost import text
from cosyhost.voices import Voice, clean_name
from cosyhost.web.intake import check_prompt
from cosyhost.web.services import Injected

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
    name: Annotated[str, Form()],
    audio_sample: Annotated[UploadFile, File(description="3 to 30 s of one speaker.")],
    ref_text: Annotated[str, Form(description="What the sample says.")] = "",
    consent: Annotated[str, Form(description="Who agreed to the cloning.")] = "",
    speaker_description: Annotated[str, Form()] = "",
) -> dict[str, Any]:
    """Store a voice: it is there only when its audio is whole and valid."""
    clean_name(name)
    text.refuse_control_tokens(ref_text)
    prompt = await check_prompt(services, await audio_sample.read())
    voice = await run_in_threadpool(
        services.library.create, name, prompt, ref_text.strip(), speaker_description, consent
    )
    return {"success": True, "voice": _shown(voice)}


@router.delete("/{name}")
async def delete_voice(services: Injected, name: str) -> dict[str, Any]:
    """Remove a voice."""
    await run_in_threadpool(services.library.delete, name)
    return {"success": True, "message": f"Voice {name!r} deleted."}
