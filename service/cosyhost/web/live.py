"""WS /v1/audio/speech/live: text in as it is written, audio out as it is made."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from fastapi.concurrency import run_in_threadpool

from cosyhost import text
from cosyhost.errors import REQUEST_INVALID, TEXT_TOO_LONG, Problem
from cosyhost.jobs import Mark
from cosyhost.web import consents, intake
from cosyhost.web.follow import follow
from cosyhost.web.problems import internal
from cosyhost.web.services import Services
from cosyhost.web.speech import label_of
from cosyhost.web.user import address_of

router = APIRouter()

# Sentences that wait to be spoken; a writer who is further ahead is slowed down.
_AHEAD = 4
_POLICY_VIOLATION = 1008


class Opening(msgspec.Struct, kw_only=True):
    """The first message: whose voice, and how."""

    voice: str | None = None
    ref_upload: str | None = None
    ref_text: str = ""
    instructions: str = ""
    mode: Literal["zero_shot", "cross_lingual", "instruct"] | None = None
    speed: float = 1.0
    consent: bool | Annotated[str, msgspec.Meta(max_length=consents.MOST_CHARS)] | None = None


class Piece(msgspec.Struct, kw_only=True):
    """Every later message: more text, and with `end` the last of it."""

    text: Annotated[str, msgspec.Meta(max_length=10_000)] = ""
    end: bool = False


class _Conversation:
    """One socket: sentences become jobs in order, and their audio leaves in that order."""

    def __init__(self, socket: WebSocket, services: Services) -> None:
        self._socket = socket
        self._services = services
        self._jobs: asyncio.Queue[str | None] = asyncio.Queue(maxsize=_AHEAD)
        self._unheard: set[str] = set()
        # One sign for the conversation: GB 45438-2025, 5.3, note 3, asks it of a round, not of each
        # sentence. It comes first, since nobody knows which sentence is the last.
        self._mark: Mark = "start" if services.config.label.audible_mark != "none" else "none"

    async def run(self) -> None:
        opening = await self._receive(Opening)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._cancel_unheard)
            speaking = asyncio.ensure_future(self._speak())
            listening = asyncio.ensure_future(self._listen(opening))
            stack.callback(speaking.cancel)
            stack.callback(listening.cancel)
            await asyncio.wait({speaking, listening}, return_when=asyncio.FIRST_EXCEPTION)
            for task in (listening, speaking):
                if task.done():
                    task.result()
        await self._socket.send_json({"type": "done"})

    async def _receive(self, kind: type[Any]) -> Any:
        try:
            return msgspec.json.decode(await self._socket.receive_text(), type=kind)
        except (msgspec.DecodeError, KeyError) as error:
            raise Problem(REQUEST_INVALID, field="message", reason=str(error)) from None

    async def _sentences(self) -> AsyncIterator[str]:
        """Sentences as they become complete; what is left at the end is one too."""
        rest = ""
        limit = self._services.config.limits.text_chars
        while True:
            piece = await self._receive(Piece)
            rest += piece.text
            complete, rest = text.complete_sentences(rest)
            if len(rest) > limit:
                raise Problem(TEXT_TOO_LONG, characters=len(rest), limit=limit)
            for sentence in [*complete, rest] if piece.end else complete:
                if text.has_words(sentence):
                    yield sentence
            if piece.end:
                return

    async def _listen(self, opening: Opening) -> None:
        async for sentence in self._sentences():
            job_id = await intake.accept(
                self._services,
                intake.Wish(
                    text=sentence,
                    mode=opening.mode,
                    voice=opening.voice,
                    upload=opening.ref_upload,
                    prompt_text=opening.ref_text,
                    instruction=opening.instructions,
                    speed=opening.speed,
                    user=self._socket.state.user,
                    owner=self._socket.state.owner,
                    mark=self._mark,
                    address=address_of(self._socket),
                    consent=opening.consent,
                ),
            )
            self._mark = "none"
            self._unheard.add(job_id)
            await self._jobs.put(job_id)
        await self._jobs.put(None)

    async def _speak(self) -> None:
        told, label = False, None
        while (job_id := await self._jobs.get()) is not None:
            async for part in follow(self._services, job_id):
                if isinstance(part, bytes):
                    await self._socket.send_bytes(part)
                    continue
                label = label_of(self._services, job_id, part).document()
                if not told:
                    told = True
                    await self._socket.send_json(
                        {
                            "type": "start",
                            "sample_rate": part.sample_rate,
                            "format": "s16le",
                            "label": label,
                        }
                    )
            self._unheard.discard(job_id)
            await self._socket.send_json({"type": "spoken", "job": job_id, "label": label})

    async def _cancel_unheard(self) -> None:
        for job_id in self._unheard:
            with contextlib.suppress(Problem):
                await run_in_threadpool(self._services.ledger.cancel, job_id)


@router.websocket("/v1/audio/speech/live")
async def live(socket: WebSocket) -> None:
    """Opening, then pieces of text; back come `start`, PCM in binary messages, `spoken`, `done`.

    A failure is sent as its problem document, then the socket closes.
    """
    await socket.accept()
    services: Services = socket.app.state.services
    try:
        await _Conversation(socket, services).run()
        await socket.close()
    except WebSocketDisconnect:
        return
    except Problem as problem:
        services.metrics.problem(problem.kind.code)
        await _refuse(socket, problem)
    except Exception as error:
        await _refuse(socket, internal(error))


async def _refuse(socket: WebSocket, problem: Problem) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await socket.send_json({"type": "problem", "problem": problem.document()})
        await socket.close(_POLICY_VIOLATION)
