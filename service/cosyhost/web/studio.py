"""The studio: the page people use. Gradio makes the form; uploads, jobs and sound have widgets of
their own (`static/`), since they must outlive a lost connection and a reload.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from cosyhost import engines
from cosyhost.web import intake, presets, words
from cosyhost.web.library import Library
from cosyhost.web.page import PRIVATE, Page, language_of, said, sent_prompt, toast
from cosyhost.web.services import Services
from cosyhost.web.user import COOKIE

_STATIC = Path(__file__).parent / "static"


def _widget(name: str, assets: str, options: dict[str, Any]) -> gr.HTML:
    """A place for one of our widgets; its element must not be rendered anew by Gradio."""
    mount = f"window.cosyStudio.mount({json.dumps(name)}, element, {json.dumps(options)})"
    return gr.HTML(
        html_template=f'<div class="cosy-{name}"></div>',
        js_on_load=f"import({json.dumps(assets + 'studio.js')}).then(() => {mount});",
        elem_id=f"cosy-{name}",
        padding=False,
        apply_default_css=False,
    )


def build(services: Services, assets: str) -> tuple[gr.Blocks, gr.I18n]:
    """The page and its words."""
    page = Page()
    engine = engines.create(services.config.engine)

    async def generate(
        request: gr.Request,
        chosen: str | None,
        mode: str,
        text: str | None,
        voice: str | None,
        prompt: str,
        prompt_text: str | None,
        instruction: str | None,
        speed: float,
    ) -> AsyncIterator[tuple[str, str]]:
        """Yields job id and a line to show. Gradio sends None for a field never shown."""
        language = language_of(request, chosen)
        try:
            if prompt and not voice and json.loads(prompt)["state"] != "ready":
                yield "", said(language)["uploading"]
            began = time.monotonic()
            upload = None if voice else await sent_prompt(services, request, prompt)
            wish = intake.Wish(
                text=text or "",
                mode=mode,
                voice=voice or None,
                upload=upload,
                prompt_text=prompt_text or "",
                instruction=instruction or "",
                speed=speed,
                user=request.cookies.get(COOKIE, ""),
                upload_s=time.monotonic() - began if upload else 0.0,
            )
            yield await intake.accept(services, wish), ""
        except Exception as error:
            raise toast(services, error, language) from None

    def switch(request: gr.Request, chosen: str | None) -> list[Any]:
        other = "en" if language_of(request, chosen) == "zh" else "zh"
        return [other, *page.updates(other)]

    def greet(request: gr.Request, chosen: str | None) -> list[Any]:
        if not chosen:
            return [gr.skip() for _ in page.components]
        return page.updates(language_of(request, chosen))

    def show_mode(mode: str, request: gr.Request, chosen: str | None) -> list[Any]:
        return [
            gr.update(visible=mode == "zero_shot"),
            gr.update(visible=mode == "instruct"),
            gr.update(visible=mode == "instruct"),
            gr.update(info=said(language_of(request, chosen))[f"mode_{mode}"]),
            gr.Dataset(samples=presets.EXAMPLES[mode]),
        ]

    with gr.Blocks(title="CosyHost", analytics_enabled=False) as blocks:
        # A choice the browser remembers; None until somebody presses the switch.
        chosen = gr.BrowserState(None, storage_key="cosyhost.language", secret="not a secret")
        with gr.Row(elem_id="head"):
            gr.Markdown("# CosyHost")
            switcher = page.add(
                gr.Button, keys={"value": "language"}, size="sm", elem_id="language", min_width=60
            )
        page.add(gr.Markdown, keys={"value": "subtitle"})
        if engine.preview:
            page.add(gr.Markdown, keys={"value": "preview"}, elem_id="preview")
        with gr.Row():
            with gr.Column():
                mode = page.add(
                    gr.Radio,
                    [(label, name) for name, label in words.MODES.items()],
                    value="zero_shot",
                    keys={"label": "mode", "info": "mode_zero_shot"},
                    elem_id="mode",
                )
                text = page.add(
                    gr.Textbox,
                    keys={"label": "text", "info": "text_hint"},
                    lines=4,
                    max_length=services.config.limits.text_chars,
                    elem_id="text",
                )
                examples = page.add(
                    gr.Dataset,
                    components=[text],
                    samples=presets.EXAMPLES["zero_shot"],
                    keys={"label": "examples"},
                    elem_id="examples",
                )
                library = Library(services, page)
                limit = services.config.limits.body_bytes
                _widget("prompt", assets, {"assets": assets, "limitBytes": limit})
                prompt_text = page.add(
                    gr.Textbox, keys={"label": "prompt_text"}, elem_id="prompt-text"
                )
                preset = page.add(
                    gr.Dropdown,
                    list(presets.PRESETS),
                    value=None,
                    keys={"label": "preset"},
                    visible=False,
                    elem_id="preset",
                )
                instruction = page.add(
                    gr.Textbox, keys={"label": "instruction"}, visible=False, elem_id="instruction"
                )
                speed = page.add(
                    gr.Slider,
                    intake.SLOWEST,
                    intake.FASTEST,
                    value=1.0,
                    step=0.05,
                    keys={"label": "speed"},
                    elem_id="speed",
                )
                start = page.add(
                    gr.Button, keys={"value": "generate"}, variant="primary", elem_id="generate"
                )
            with gr.Column():
                line = gr.Markdown("", elem_id="status")
                _widget("job", assets, {"assets": assets})
                with page.add(gr.Accordion, keys={"label": "history"}, open=False):
                    _widget("history", assets, {"assets": assets})
                library.build(chosen)
        job = gr.Textbox(visible="hidden", elem_id="job-id")
        prompt = gr.Textbox(visible="hidden", elem_id="prompt-state")

        mode.change(
            show_mode,
            [mode, chosen],
            [prompt_text, preset, instruction, mode, examples],
            **PRIVATE,
        )
        examples.click(lambda sample: sample[0], examples, text, **PRIVATE)
        preset.change(lambda name: presets.PRESETS.get(name, ""), preset, instruction, **PRIVATE)
        start.click(
            generate,
            [chosen, mode, text, library.voice, prompt, prompt_text, instruction, speed],
            [job, line],
            # The prompt is the page's: Python is told of it when the button is pressed.
            js="async (...a) => { a[4] = await window.cosyStudio.prompt(); return a; }",
            show_progress="hidden",
            **PRIVATE,
        ).success(None, job, None, js="(id) => window.cosyStudio.follow(id)", **PRIVATE)
        switcher.click(switch, chosen, [chosen, *page.components], **PRIVATE)
        blocks.load(greet, chosen, page.components, **PRIVATE)
        library.wire(prompt, prompt_text, blocks)
    return blocks, page.i18n


_CSS = """
#preview { border-left: 4px solid #d97706; padding: .5em 1em; background: #fef3c7; color: #451a03 }
#preview * { color: inherit }
#head { align-items: center }
#language { max-width: 6em }
footer { display: none !important }
"""


def assets_path() -> str:
    """Where the static files are served: named by their content, so that browsers may keep them."""
    digest = hashlib.sha256()
    for path in sorted(_STATIC.rglob("*")):
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    return f"/studio/{digest.hexdigest()[:12]}/"


def mount(app: FastAPI, services: Services) -> FastAPI:
    """Put the page at `/` and its files beside it."""
    assets = assets_path()
    app.mount(assets.rstrip("/"), StaticFiles(directory=_STATIC))
    page, i18n = build(services, assets)
    fonts = ("ui-sans-serif", "system-ui", "sans-serif")
    styles = "".join(
        f'<link rel="stylesheet" href="{assets}{name}">' for name in ("prompt.css", "job.css")
    )
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
        head=f'{styles}<script type="module" src="{assets}studio.js"></script>',
    )
    return mounted
