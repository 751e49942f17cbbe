"""What every part of the studio's page needs: its words, its failures, and the prompt it sent."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from typing import Any

from fastapi.concurrency import run_in_threadpool

from cosyhost import uploads
from cosyhost.errors import UPLOAD_UNKNOWN, Problem
from cosyhost.web import problems, words
from cosyhost.web.services import Services
from cosyhost.web.user import COOKIE

# Gradio reads these when it is imported: nothing is looked up outside this host.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gradio as gr

_POLL_S = 0.1
# How long Generate waits for an upload from which nothing arrives.
_STALLED_S = 60.0
PRIVATE: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": None}
"""For every event: no API of Gradio's own, and no queue of Gradio's own."""


def language_of(request: gr.Request, chosen: str | None) -> str:
    """The language switched to, or else the browser's: `zh` or `en`."""
    wanted = chosen or request.headers.get("accept-language", "").lower()
    return "zh" if wanted.startswith("zh") else "en"


def said(language: str) -> dict[str, str]:
    """All words of a language."""
    return words.ZH if language == "zh" else words.EN


def toast(services: Services, error: Exception, language: str) -> gr.Error:
    """A failure as Gradio shows it; the code is in the sentence, since the page drops titles."""
    problem = error if isinstance(error, Problem) else problems.internal(error)
    services.metrics.problem(problem.kind.code)
    sentence = f"{problem.sentence(language)} ({problem.kind.code})"
    return gr.Error(sentence, title=said(language)["failed"], print_exception=False)


async def sent_prompt(services: Services, request: gr.Request, prompt: str) -> str | None:
    """The SHA-256 of the page's prompt once it has arrived; None when the page has none.

    Raises:
        Problem: UPLOAD_UNKNOWN when nothing of it arrives for a minute.
    """
    if not prompt:
        return None
    sha256 = str(json.loads(prompt)["sha256"])
    user = request.cookies.get(COOKIE, "")
    seen, quiet_since = -1, time.monotonic()
    while time.monotonic() - quiet_since < _STALLED_S:
        try:
            state = await run_in_threadpool(services.uploads.look, user, sha256)
        except Problem as problem:
            if problem.kind is not UPLOAD_UNKNOWN:  # the widget shows why it was refused
                raise
        else:
            if isinstance(state, uploads.Finished):
                return sha256
            if len(state.have) > seen:
                seen, quiet_since = len(state.have), time.monotonic()
        await asyncio.sleep(_POLL_S)
    raise Problem(UPLOAD_UNKNOWN)


class Page:
    """The components whose words change with the language."""

    def __init__(self) -> None:
        self.i18n = gr.I18n(en=words.EN, **{"zh-CN": words.ZH})
        self._worded: list[tuple[Any, dict[str, str]]] = []

    def add(self, kind: Callable[..., Any], *args: Any, keys: dict[str, str], **more: Any) -> Any:
        """Make a component; `keys` says which of its properties hold which words."""
        worded = {name: self.i18n(key) for name, key in keys.items()}
        component = kind(*args, **worded, **more)
        self._worded.append((component, keys))
        return component

    @property
    def components(self) -> list[Any]:
        """In the order of `updates`."""
        return [component for component, _ in self._worded]

    def updates(self, language: str) -> list[Any]:
        """What Gradio is told to show everything in `language`."""
        text = said(language)
        worded: list[dict[str, Any]] = [
            {name: text[key] for name, key in keys.items()} for _, keys in self._worded
        ]
        return [gr.update(**properties) for properties in worded]
