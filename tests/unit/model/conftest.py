"""A real HTTP server that can cut connections, ignore ranges, lie and stall."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import pytest

from roles.model.files import model

MB = 1 << 20


@dataclass
class Mirror:
    """A folder served over HTTP, and what was asked of it."""

    folder: Path
    url: str = ""
    prefix: str = "/m"
    ranges: bool = True
    cut_after: int | None = None  # bytes of each answer, then the connection ends
    slow: threading.Event = field(default_factory=threading.Event)  # set: a pause a block
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # path, Range
    sent: int = 0


class Handler(BaseHTTPRequestHandler):
    """Answers GET as the mirror is told to."""

    mirror: Mirror
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """One file, whole or from an offset."""
        mirror = self.mirror
        wanted = self.headers.get("Range")
        mirror.asked.append((self.path, wanted))
        path = mirror.folder / self.path.removeprefix(mirror.prefix).lstrip("/")
        if not self.path.startswith(mirror.prefix) or not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        start = 0
        if wanted and mirror.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        body = data[start:]
        if mirror.cut_after is not None and len(body) > mirror.cut_after:
            body = body[: mirror.cut_after]
            self.close_connection = True
        for offset in range(0, len(body), 64 << 10):
            block = body[offset : offset + (64 << 10)]
            try:
                self.wfile.write(block)
            except OSError:
                return
            mirror.sent += len(block)
            if mirror.slow.is_set():
                threading.Event().wait(0.05)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    """A model of 5 MB in four files, one in a folder and one empty, and its server."""
    folder = tmp_path / "origin"
    noise = Random(7)
    for name, size in {
        "llm.pt": 3 * MB,
        "flow.pt": 2 * MB + 13,
        "sub/a b.json": 99,
        "z": 0,
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise.randbytes(size))
    found = Mirror(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("H", (Handler,), {"mirror": found}))
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_port}"
    # A name with a blank arrives quoted; the folder has it so.
    (folder / "sub/a%20b.json").write_bytes((folder / "sub/a b.json").read_bytes())
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def manifest(mirror: Mirror, tmp_path: Path) -> Path:
    """The manifest of the mirror's model, with both hubs."""
    data = model.describe(mirror.folder, "m")
    del data["files"]["sub/a%20b.json"]
    data["modelscope"] = {"repository": "org/m", "revision": "master"}
    data["huggingface"] = {"repository": "org/m", "revision": "abc"}
    path = tmp_path / "m.json"
    path.write_text(json.dumps(data))
    return path


@pytest.fixture
def fetch(mirror: Mirror, manifest: Path, tmp_path: Path) -> Callable[..., Path]:
    """A function that fetches into `models/m` and gives that folder."""

    def run(source: str = "url", location: str | None = None, to: Path | None = None) -> Path:
        to = to or tmp_path / "models/m"
        where = f"{mirror.url}/m" if location is None else location
        progress = tmp_path / "progress.json"
        model.fetch(model.Manifest.read(str(manifest)), to, source, where, progress)
        return to

    return run
