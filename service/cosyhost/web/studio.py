"""The studio: the page people use, made with Gradio. Jobs live outside Gradio's own queue."""

from __future__ import annotations

import asyncio
import html
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

from cosyhost import audio, engines
from cosyhost.errors import Problem
from cosyhost.jobs import ENDED, Status
from cosyhost.web import intake, problems, words
from cosyhost.web.follow import raise_unless_done
from cosyhost.web.jobs import eta_s
from cosyhost.web.metrics import phases
from cosyhost.web.services import Services

# Gradio reads these when it is imported: nothing is looked up outside this host.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gradio as gr

_POLL_S = 0.25
# Gradio keeps uploads in its own folder; it clears those older than an hour, once an hour.
_CACHE_SWEEP_S = 3600
_HIDDEN = gr.update(visible=False)


def _language(request: gr.Request) -> str:
    return "zh" if request.headers.get("accept-language", "").lower().startswith("zh") else "en"


def _said(language: str) -> dict[str, str]:
    return words.ZH if language == "zh" else words.EN


def _toast(problem: Problem, language: str) -> gr.Error:
    # The code stands in the sentence: Gradio's page drops the title of an error.
    sentence = f"{problem.sentence(language)} ({problem.kind.code})"
    return gr.Error(sentence, title=_said(language)["failed"], print_exception=False)


def _status_line(services: Services, status: Status, language: str) -> str:
    said = _said(language)
    if status.state == "queued":
        seconds = eta_s(services, status)
        eta = said["eta"].format(seconds=seconds) if seconds else ""
        return said["queued"].format(position=status.position or 1, eta=eta)
    if status.state == "running":
        return said["running"].format(seconds=services.ledger.now() - (status.started or 0))
    if status.state == "cancelled":
        return said["cancelled"]
    spent = phases(status)
    total = (status.finished or 0) - status.created
    return said["done"].format(
        audio=status.audio_s or 0, total=total, queue=spent["queue"], synth=spent["synth"]
    )


def _player(status: Status, language: str) -> str:
    """Our own player: Gradio's brings half a megabyte of streaming code along."""
    url = f"/v1/jobs/{status.id}/audio"
    links = " · ".join(
        f'<a href="{url}?response_format={kind}" download="cosyhost-{status.id[:8]}.{kind}">'
        f"{kind.upper()}</a>"
        for kind in audio.MEDIA_TYPES
        if kind != "pcm"
    )
    note = f"<p>{html.escape(_said(language)['preview'])}</p>" if status.preview else ""
    return (
        f'<audio controls src="{url}" style="width:100%"></audio>'
        f"<p>{html.escape(_said(language)['download'])}: {links}</p>{note}"
    )


def build(services: Services) -> tuple[gr.Blocks, gr.I18n]:
    """The page and its words."""
    i18n = gr.I18n(en=words.EN, **{"zh-CN": words.ZH})
    engine = engines.create(services.config.engine.kind)

    async def names() -> Any:
        voices = await run_in_threadpool(services.library.all)
        choices = [("—", ""), *((voice.name, voice.name) for voice in voices)]
        return gr.update(choices=choices, value="")

    async def generate(
        request: gr.Request,
        mode: str,
        text: str | None,
        voice: str | None,
        prompt_audio: str | None,
        prompt_text: str | None,
        instruction: str | None,
        speed: float,
    ) -> AsyncIterator[tuple[str, Any, Any]]:
        """Yields job id, status line, player. Gradio sends None for a field never shown."""
        language = _language(request)
        try:
            data = None
            if prompt_audio:
                data = await run_in_threadpool(Path(prompt_audio).read_bytes)
            wish = intake.Wish(
                text=text or "",
                mode=mode,
                voice=voice or None,
                prompt_audio=data,
                prompt_text=prompt_text or "",
                instruction=instruction or "",
                speed=speed,
            )
            job_id = await intake.accept(services, wish)
            yield job_id, "…", _HIDDEN
            while True:
                status = await run_in_threadpool(services.ledger.status, job_id)
                if status.state == "failed":
                    services.metrics.job_ended(status)
                    raise_unless_done(status)
                line = await run_in_threadpool(_status_line, services, status, language)
                if status.state in ENDED:
                    break
                yield job_id, line, _HIDDEN
                await asyncio.sleep(_POLL_S)
            services.metrics.job_ended(status)
            done = status.state == "done"
            player = gr.update(visible=True, value=_player(status, language)) if done else _HIDDEN
            yield "", line, player
        except Problem as problem:
            services.metrics.problem(problem.kind.code)
            raise _toast(problem, language) from None
        except Exception as error:
            raise _toast(problems.internal(error), language) from None

    async def cancel(request: gr.Request, job_id: str) -> None:
        try:
            if job_id:
                await run_in_threadpool(services.ledger.cancel, job_id)
        except Problem as problem:
            raise _toast(problem, _language(request)) from None

    with gr.Blocks(
        title="CosyHost", analytics_enabled=False, delete_cache=(_CACHE_SWEEP_S, _CACHE_SWEEP_S)
    ) as page:
        gr.Markdown("# CosyHost")
        gr.Markdown(i18n("subtitle"))
        if engine.preview:
            gr.Markdown(i18n("preview"), elem_id="preview", elem_classes="preview")
        job = gr.State("")
        with gr.Row():
            with gr.Column():
                mode = gr.Radio(
                    [(label, name) for name, label in words.MODES.items()],
                    value="zero_shot",
                    label=i18n("mode"),
                    elem_id="mode",
                )
                text = gr.Textbox(
                    label=i18n("text"),
                    info=i18n("text_hint"),
                    lines=4,
                    max_length=services.config.limits.text_chars,
                    elem_id="text",
                )
                voice = gr.Dropdown(
                    choices=[("—", "")],
                    value="",
                    label=i18n("voice"),
                    info=i18n("no_voice"),
                    elem_id="voice",
                )
                prompt_audio = gr.Audio(
                    sources=["upload", "microphone"],
                    type="filepath",
                    label=i18n("prompt"),
                    elem_id="prompt-audio",
                )
                prompt_text = gr.Textbox(label=i18n("prompt_text"), elem_id="prompt-text")
                instruction = gr.Textbox(
                    label=i18n("instruction"),
                    placeholder="请用四川话表达。",
                    visible=False,
                    elem_id="instruction",
                )
                speed = gr.Slider(
                    intake.SLOWEST,
                    intake.FASTEST,
                    value=1.0,
                    step=0.05,
                    label=i18n("speed"),
                    elem_id="speed",
                )
                with gr.Row():
                    start = gr.Button(i18n("generate"), variant="primary", elem_id="generate")
                    stop = gr.Button(i18n("cancel"), elem_id="cancel")
            with gr.Column():
                gr.Markdown(i18n("result"))
                line = gr.Markdown("", elem_id="status")
                player = gr.HTML(visible=False, elem_id="player")
        hidden_api: dict[str, Any] = {"api_visibility": "private"}
        mode.change(
            lambda chosen: (
                gr.update(visible=chosen == "zero_shot"),
                gr.update(visible=chosen == "instruct"),
            ),
            mode,
            [prompt_text, instruction],
            **hidden_api,
        )
        start.click(
            generate,
            [mode, text, voice, prompt_audio, prompt_text, instruction, speed],
            [job, line, player],
            show_progress="hidden",
            # Jobs wait in our queue, where all users see their place; Gradio's lets all through.
            concurrency_limit=None,
            **hidden_api,
        )
        stop.click(cancel, job, None, concurrency_limit=None, **hidden_api)
        page.load(names, None, voice, **hidden_api)
    return page, i18n


_CSS = """
.preview { border-left: 4px solid #d97706; padding: .5em 1em; background: #fef3c7; color: #451a03 }
.preview * { color: inherit }
footer { display: none !important }
"""


def mount(app: FastAPI, services: Services) -> FastAPI:
    """Put the page at `/`."""
    page, i18n = build(services)
    fonts = ("ui-sans-serif", "system-ui", "sans-serif")
    mounted: FastAPI = gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        # Exceptions can hold what a user wrote.
        show_error=False,
        max_file_size=services.config.limits.body_bytes,
        ssr_mode=False,
        i18n=i18n,
        theme=gr.themes.Default(font=fonts, font_mono=("ui-monospace", "monospace")),
        css=_CSS,
    )
    return mounted
