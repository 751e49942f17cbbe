"""The studio: the page people use. Gradio makes the page and its places; what fills them are
widgets of our own (`static/`), since they must outlive a lost connection and a reload, and since
each further kind of Gradio component costs its visitors requests and bytes. They speak to the same
API as everybody else.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from cosyhost import engines
from cosyhost.errors import (
    CONSENT_MISSING,
    MODE_NEEDS_INSTRUCTIONS,
    MODE_NEEDS_PROMPT_TEXT,
    PROMPT_MISSING,
    TEXT_EMPTY,
    Problem,
)
from cosyhost.web import intake, presets
from cosyhost.web.services import Services

# Gradio reads these when it is imported: nothing is looked up outside this host.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gradio as gr

_STATIC = Path(__file__).parent / "static"
# What the form refuses by itself, so that nobody waits for an upload to be told.
_REFUSED_HERE = (
    *(TEXT_EMPTY, MODE_NEEDS_PROMPT_TEXT, MODE_NEEDS_INSTRUCTIONS),
    *(PROMPT_MISSING, CONSENT_MISSING),
)


def build(services: Services, assets: str) -> tuple[gr.Blocks, dict[str, dict[str, Any]]]:
    """The page, and what studio.js must know of each place in it, by the place's name.

    `assets` is where the static files are, with a slash at its end. The places are empty columns:
    Gradio's own HTML component evaluates strings, which the page's policy forbids.
    """
    places: dict[str, dict[str, Any]] = {}

    def place(name: str, **options: Any) -> None:
        places[name] = options
        gr.Column(elem_id=f"cosy-{name}")

    limits = services.config.limits
    blocks: gr.Blocks = gr.Blocks(title="CosyHost", analytics_enabled=False)
    with blocks:
        place("head", preview=engines.create(services.config.engine).preview)
        with gr.Row():
            with gr.Column(scale=6):
                place(
                    "form",
                    assets=assets,
                    limitBytes=limits.body_bytes,
                    textChars=limits.text_chars,
                    speeds=[intake.SLOWEST, intake.FASTEST],
                    modes=presets.MODES,
                    examples=presets.EXAMPLES,
                    presets=presets.PRESETS,
                    asksConsent=services.config.consent != "none",
                    problems={kind.code: Problem(kind).document() for kind in _REFUSED_HERE},
                )
            with gr.Column(scale=5):
                place("job")
                place("history")
                place("library")
                place("network")
                if services.config.studio.restart_button == "everyone":
                    place("restart")
    return blocks, places


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
    blocks, places = build(services, assets)
    # What `<` begins would end the script.
    known = json.dumps(places).replace("<", "\\u003c")
    fonts = ("ui-sans-serif", "system-ui", "sans-serif")
    mounted: FastAPI = gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        footer_links=[],
        run_history=False,
        # Exceptions can hold what a user wrote.
        show_error=False,
        max_file_size=services.config.limits.body_bytes,
        ssr_mode=False,
        theme=gr.themes.Default(font=fonts, font_mono=("ui-monospace", "monospace")),
        favicon_path=str(_STATIC / "icon.svg"),
        head=f'<link rel="stylesheet" href="{assets}studio.css">'
        f'<script type="application/json" id="cosy-places">{known}</script>'
        f'<script type="module" src="{assets}studio.js"></script>',
    )
    return mounted
