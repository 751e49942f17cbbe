"""From a request to a queued job: the checks that API and studio share."""

from __future__ import annotations

import base64
import binascii
import contextlib
import secrets
from dataclasses import dataclass
from typing import cast, get_args

from fastapi.concurrency import run_in_threadpool

from cosyhost import text
from cosyhost.audio import read_prompt
from cosyhost.errors import (
    MODE_NEEDS_INSTRUCTIONS,
    MODE_NEEDS_PROMPT_TEXT,
    MODE_UNAVAILABLE,
    MODE_UNKNOWN,
    PROMPT_MISSING,
    REF_AUDIO_INVALID,
    SPEED_OUT_OF_RANGE,
    UPLOAD_UNKNOWN,
    Problem,
)
from cosyhost.jobs import Job, Mark, Mode, new_job_id
from cosyhost.trail import Entry
from cosyhost.web import consents, room
from cosyhost.web.services import Services
from cosyhost.web.user import user_id

# OpenAI's range is 0.25 to 4; CosyVoice's own page offers 0.5 to 2, beyond which speech tears.
SLOWEST, FASTEST = 0.5, 2.0
_INSTRUCTION_CHARS = 200


@dataclass(frozen=True)
class Wish:
    """What a user asks for, not yet checked.

    One of `voice`, `prompt_audio` and `upload` (the SHA-256 of an upload of this user) says whose
    voice; the first that is there counts, from the last to the first. Without a `mark` the settings
    say where a sign is heard.
    """

    text: str
    mode: str | None = None
    voice: str | None = None
    prompt_audio: bytes | None = None
    upload: str | None = None
    prompt_text: str = ""
    instruction: str = ""
    speed: float = 1.0
    seed: int | None = None
    user: str = ""
    owner: str = ""
    address: str = ""
    consent: consents.Given = None
    upload_s: float = 0.0
    upload_bytes: int = 0
    mark: Mark | None = None


def work_out_mode(instruction: str, prompt_text: str) -> Mode:
    """The mode when none is named: an instruction means instruct, a transcript zero_shot."""
    if instruction:
        return "instruct"
    return "zero_shot" if prompt_text else "cross_lingual"


def decode_data_uri(uri: str) -> bytes:
    """The bytes of a base64 data: URI (RFC 2397).

    Raises:
        Problem: REF_AUDIO_INVALID.
    """
    head, comma, payload = uri.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        raise Problem(REF_AUDIO_INVALID)
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        raise Problem(REF_AUDIO_INVALID) from None


async def accept(services: Services, wish: Wish) -> str:
    """Check the wish and put it on the queue, off the event loop; returns the job's id.

    Raises:
        Problem: TEXT_*, MODE_*, SPEED_OUT_OF_RANGE, PROMPT_*, VOICE_UNKNOWN, QUEUE_FULL,
            QUEUE_UNAVAILABLE, STORE_UNAVAILABLE, STORAGE_FULL, CONSENT_MISSING or
            TRAIL_UNAVAILABLE; then nothing was queued.
    """
    return await run_in_threadpool(_accept, services, wish)


def _accept(services: Services, wish: Wish) -> str:
    """Whatever comes of it is in the trail."""
    agreed = consents.given(wish.consent)
    with services.trail.about(
        "speech", user=user_id(wish.user), address=wish.address, consent=agreed
    ) as entry:
        job = _checked(services, wish, agreed, entry)
        # Before the job is known to anybody: whoever finds it lost there would have it spoken.
        entry.accept(job=job.id)
        _queue(services, job)
    return job.id


def _checked(services: Services, wish: Wish, agreed: str, entry: Entry) -> Job:
    """The job that is asked for; `entry` is told what is learnt of it."""
    room.check(services)
    words = text.check(wish.text, services.config.limits.text_chars)
    if wish.mode is not None and wish.mode not in get_args(Mode):
        raise Problem(MODE_UNKNOWN, mode=wish.mode[:40])
    if not SLOWEST <= wish.speed <= FASTEST:
        raise Problem(SPEED_OUT_OF_RANGE, speed=wish.speed, low=SLOWEST, high=FASTEST)
    entry.know(text=words)
    upload_bytes = wish.upload_bytes
    instruction = wish.instruction.strip()
    if instruction:
        instruction = text.check(instruction, _INSTRUCTION_CHARS)
    prompt_text = wish.prompt_text.strip()
    text.refuse_control_tokens(prompt_text)

    if wish.upload:
        sent = services.uploads.finished(wish.user, wish.upload)
        if sent is None:
            raise Problem(UPLOAD_UNKNOWN)
        consents.need(services, agreed)
        prompt_id, upload_bytes = sent.prompt, min(upload_bytes, sent.length)
    elif wish.prompt_audio is not None:
        consents.need(services, agreed)
        prompt = read_prompt(wish.prompt_audio, services.config.limits.body_bytes)
        prompt_id = services.library.keep_prompt(prompt)
    elif wish.voice:
        voice = services.library.get(wish.voice, wish.owner)
        agreed = agreed or voice.consent
        entry.know(voice=voice.prompt, name=voice.name, consent=agreed)
        consents.need(services, agreed)
        prompt_id, prompt_text = voice.prompt, prompt_text or voice.prompt_text
    else:
        raise Problem(PROMPT_MISSING)

    entry.know(voice=prompt_id)
    mode = cast(Mode, wish.mode) if wish.mode else work_out_mode(instruction, prompt_text)
    if mode == "zero_shot" and not prompt_text:
        raise Problem(MODE_NEEDS_PROMPT_TEXT)
    if mode == "instruct" and not instruction:
        raise Problem(MODE_NEEDS_INSTRUCTIONS)
    entry.know(mode=mode)
    modes = services.fleet.modes()
    if modes is not None and mode not in modes:
        others = ", ".join(sorted(modes))
        raise Problem(MODE_UNAVAILABLE, mode=mode, others=others, retry_after_s=30)
    return Job(
        id=new_job_id(),
        mode=mode,
        text=words,
        prompt=prompt_id,
        prompt_text=prompt_text,
        instruction=instruction if mode == "instruct" else "",
        speed=wish.speed,
        # A job that breaks off is spoken again; only with a fixed seed is it the same sound.
        seed=secrets.randbelow(1 << 31) if wish.seed is None else wish.seed,
        user=wish.user,
        upload_s=wish.upload_s,
        upload_bytes=upload_bytes,
        mark=services.config.label.audible_mark if wish.mark is None else wish.mark,
    )


def _queue(services: Services, job: Job) -> None:
    services.ledger.submit(job)
    try:
        services.broker.publish(job)
    except Problem:
        # It could not be taken back either? Then it is published later, or expires.
        with contextlib.suppress(Problem):
            services.ledger.forget(job.id, job.user)
        raise
