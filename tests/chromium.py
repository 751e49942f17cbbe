"""Headless Chromium of this machine, also with the network of a testbed's client."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Playwright

from tests.testbed import Client

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextmanager
def on_line(
    playwright: Playwright, client: Client, *, secure: Sequence[str] = ()
) -> Iterator[Browser]:
    """A browser on the client's line, until the context ends.

    `secure`: http:// origins that it takes for secure ones. Opus and the microphone need one; a
    tier without TLS is none.
    """
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("there is no chromium: apt install chromium")
    flags = list(FLAGS)
    if secure:
        flags.append(f"--unsafely-treat-insecure-origin-as-secure={','.join(secure)}")
    with tempfile.TemporaryDirectory() as folder:
        inside = Path(folder) / "chromium"
        inside.write_text(f'#!/bin/sh\nexec {shlex.join(client.command(program))} "$@"\n')
        inside.chmod(0o755)
        browser = playwright.chromium.launch(executable_path=inside, args=flags)
        try:
            yield browser
        finally:
            browser.close()
