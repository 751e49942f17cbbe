"""The studio's voice library: choose, save, listen, rename, delete, default."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import gradio as gr
from fastapi.concurrency import run_in_threadpool

from cosyhost.errors import UPLOAD_UNKNOWN, Problem
from cosyhost.voices import Voice
from cosyhost.web.page import PRIVATE, Page, language_of, said, sent_prompt, toast
from cosyhost.web.services import Services
from cosyhost.web.user import COOKIE

_NONE = ("—", "")


class Library:
    """The part of the page that is about stored voices."""

    def __init__(self, services: Services, page: Page) -> None:
        self._services = services
        self._page = page
        self.voice = page.add(
            gr.Dropdown,
            choices=[_NONE],
            value="",
            keys={"label": "voice", "info": "no_voice"},
            elem_id="voice",
        )

    def build(self, chosen: gr.BrowserState) -> None:
        """The panel, folded until somebody wants it."""
        add = self._page.add
        self._chosen = chosen
        # Which voice this browser begins with.
        self._default = gr.BrowserState("", storage_key="cosyhost.voice", secret="not a secret")
        with add(gr.Accordion, keys={"label": "library"}, open=False, elem_id="library"):
            self._listen = gr.HTML(visible=False, elem_id="listen")
            with gr.Row():
                self._as_default = add(gr.Button, keys={"value": "default"}, size="sm")
                self._delete = add(gr.Button, keys={"value": "delete"}, size="sm", variant="stop")
            with gr.Row():
                self._new_name = add(gr.Textbox, keys={"label": "new_name"}, max_length=64)
                self._rename = add(gr.Button, keys={"value": "rename"}, size="sm")
            self._save_name = add(
                gr.Textbox, keys={"label": "save_name"}, max_length=64, elem_id="save-name"
            )
            self._consent = add(gr.Checkbox, keys={"label": "consent"}, elem_id="consent")
            self._save = add(gr.Button, keys={"value": "save"}, size="sm", elem_id="save")

    def wire(self, prompt: gr.Textbox, prompt_text: gr.Textbox, blocks: gr.Blocks) -> None:
        """Connect the buttons; `prompt` is filled in by the page when one is pressed."""
        blocks.load(self._begin, self._default, self.voice, **PRIVATE)
        self.voice.change(self._show, self.voice, self._listen, **PRIVATE)
        self._as_default.click(
            self._make_default, [self._chosen, self.voice], self._default, **PRIVATE
        )
        self._delete.click(self._drop, [self._chosen, self.voice], self.voice, **PRIVATE)
        self._rename.click(
            self._call_anew, [self._chosen, self.voice, self._new_name], self.voice, **PRIVATE
        )
        self._save.click(
            self._keep,
            [self._chosen, self._save_name, self._consent, prompt, prompt_text],
            self.voice,
            js="async (...a) => { a[3] = await window.cosyStudio.prompt(); return a; }",
            **PRIVATE,
        )

    async def _choices(self, value: str) -> Any:
        voices = await run_in_threadpool(self._services.library.all)
        names = [voice.name for voice in voices]
        choices = [_NONE, *((name, name) for name in names)]
        return gr.update(choices=choices, value=value if value in names else "")

    async def _begin(self, default: str) -> Any:
        return await self._choices(default)

    def _show(self, name: str) -> Any:
        url = f"/v1/audio/voices/{quote(name)}/audio"
        player = f'<audio controls preload="none" src="{url}" style="width:100%"></audio>'
        return gr.update(visible=bool(name), value=player if name else "")

    def _make_default(self, request: gr.Request, chosen: str | None, name: str) -> str:
        text = said(language_of(request, chosen))
        gr.Info(text["made_default"].format(name=name or "—"))
        return name

    async def _drop(self, request: gr.Request, chosen: str | None, name: str) -> Any:
        text = self._words_if_chosen(request, chosen, name)
        try:
            await run_in_threadpool(self._services.library.delete, name)
        except Exception as error:
            raise toast(self._services, error, language_of(request, chosen)) from None
        gr.Info(text["deleted"].format(name=name))
        return await self._choices("")

    async def _call_anew(
        self, request: gr.Request, chosen: str | None, name: str, new_name: str
    ) -> Any:
        text = self._words_if_chosen(request, chosen, name)
        try:
            voice = await run_in_threadpool(self._services.library.rename, name, new_name)
        except Exception as error:
            raise toast(self._services, error, language_of(request, chosen)) from None
        gr.Info(text["renamed"].format(name=voice.name))
        return await self._choices(voice.name)

    async def _keep(
        self,
        request: gr.Request,
        chosen: str | None,
        name: str,
        consent: bool,
        prompt: str,
        prompt_text: str | None,
    ) -> Any:
        language = language_of(request, chosen)
        text = said(language)
        if not prompt:
            raise gr.Error(text["need_prompt"], title=text["failed"], print_exception=False)
        if not consent:
            raise gr.Error(text["need_consent"], title=text["failed"], print_exception=False)
        try:
            voice = await self._store(request, name, prompt, prompt_text or "")
        except Exception as error:
            raise toast(self._services, error, language) from None
        gr.Info(text["saved"].format(name=voice.name))
        return await self._choices(voice.name)

    async def _store(self, request: gr.Request, name: str, prompt: str, prompt_text: str) -> Voice:
        user = request.cookies.get(COOKIE, "")
        sha256 = await sent_prompt(self._services, request, prompt)
        sent = await run_in_threadpool(self._services.uploads.finished, user, sha256 or "")
        if sent is None:
            raise Problem(UPLOAD_UNKNOWN)
        voice = Voice(
            name=name,
            prompt=sent.prompt,
            prompt_text=prompt_text.strip(),
            description="",
            consent="ticked in the studio",
            seconds=sent.seconds,
            created=time.time(),
        )
        return await run_in_threadpool(self._services.library.create, voice)

    def _words_if_chosen(
        self, request: gr.Request, chosen: str | None, name: str
    ) -> dict[str, str]:
        text = said(language_of(request, chosen))
        if not name:
            raise gr.Error(text["need_voice"], title=text["failed"], print_exception=False)
        return text
