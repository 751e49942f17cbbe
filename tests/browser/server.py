"""A server of the upload contract in memory, on a line that can be made slow, dead or broken."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import runpy
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import soundfile

CHUNK = 32768
IN_FLIGHT = 4 * CHUNK  # what may be under way at once, and so be sent again after an outage
SERVICE = Path(__file__).parents[2] / "service"
STATIC = SERVICE / "cosyhost/web/static"
_build = runpy.run_path(str(SERVICE / "hatch_build.py"))
ENTRIES = ("prompt.js", "prompt.css", "words.en.js", "words.zh.js", "sha256.js")
TYPES = {".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm"}
# The policy that the widget promises to live under.
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; media-src 'self' blob:"
)
PAGE = """<!doctype html><html lang="{lang}"><head><meta charset="utf-8"><title>Prompt</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/studio/static/prompt.css"><style>
body {{ margin: 24px auto; padding: 0 12px; max-width: 720px; font-family: system-ui, sans-serif }}
@media (prefers-color-scheme: dark) {{ body {{ background: #0b0f19 }} }}
</style></head><body><div id="prompt" data-limit-bytes="10000000"></div>
<script type="module" src="/page.js"></script></body></html>"""
SCRIPT = """import {{ mount }} from '/studio/static/prompt.js';
window.told = [];
window.again = () => {{
  window.prompt_ = mount(document.getElementById('prompt'), {{
    onchange: (state) => window.told.push(state),
  }});
}};
window.again();"""


@cache
def bundled(*entries: str) -> dict[str, bytes]:
    """Our own files as the wheel would have them with these entries, by name."""
    packed = _build["bundle"](_build["npm_cache"](), entries)
    return {path.name: path.read_bytes() for path in packed}


def static_file(name: str) -> bytes | None:
    """A file as the wheel has it."""
    path = STATIC / name
    if path.parent == STATIC:
        return bundled(*ENTRIES).get(name)
    return path.read_bytes() if path.is_file() else None


NOT_AUDIO = {
    "code": "prompt_not_audio",
    "detail": "This file is no audio that can be read.",
    "detail_zh": "这个文件不是能识别的音频。",
    "hint": "Use WAV, FLAC, MP3, Ogg or Opus.",
    "hint_zh": "请使用 WAV、FLAC、MP3、Ogg 或 Opus。",
}


@dataclass
class Line:
    """The uplink and what goes wrong on it. Times are of `time.monotonic()`."""

    bps: float = 0  # 0: as fast as it goes
    dead_until: float = 0  # nothing passes, nobody says so
    reset_next: int = 0  # so many requests from now on end in a closed connection
    fail_next: int = 0  # so many PATCHes from now on get 503
    refuse: set[str] = field(default_factory=set)  # formats taken for no audio: "RIFF", ...
    die_after: list[int] = field(default_factory=list)  # audio bytes: dead for a while from there
    die_s: float = 10


class Uploads:
    """What the server holds, and a record of what reached it."""

    def __init__(self) -> None:
        self.line = Line()
        self.lock = threading.Lock()
        self.parts: dict[str, dict[int, bytes]] = {}
        self.done: dict[str, tuple[bytes, dict[str, Any]]] = {}
        self.deleted: list[str] = []
        self.requests: list[tuple[str, str, float]] = []
        self.audio_bytes = 0
        self.aborted = 0

    @property
    def chunks(self) -> int:
        """How many chunks have begun to arrive."""
        return sum(method == "PATCH" for method, _, _ in self.requests)

    def audio(self, sha: str) -> bytes:
        """The complete audio with that hash."""
        return self.done[sha][0]


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection of a browser."""

    protocol_version = "HTTP/1.1"
    uploads: Uploads

    def log_message(self, *args: Any) -> None:
        """Silent."""

    def _answer(self, status: int, body: bytes = b"", kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(body)

    def _json(self, status: int, document: dict[str, Any]) -> None:
        self._answer(status, json.dumps(document).encode())

    def _wait_for_life(self) -> None:
        while time.monotonic() < self.uploads.line.dead_until:
            time.sleep(0.05)

    def _read_body(self) -> bytes | None:
        """The body at the speed of the line; None when the browser gave it up."""
        line, left, body = self.uploads.line, int(self.headers.get("Content-Length", "0")), b""
        while left:
            self._wait_for_life()
            piece = self.rfile.read(min(left, 4096))
            if not piece:
                self.uploads.aborted += 1
                return None
            left -= len(piece)
            body += piece
            with self.uploads.lock:  # one line, shared by all connections
                self.uploads.audio_bytes += len(piece)
                if line.die_after and self.uploads.audio_bytes >= line.die_after[0]:
                    line.die_after.pop(0)
                    line.dead_until = time.monotonic() + line.die_s
                if line.bps:
                    time.sleep(len(piece) * 8 / line.bps)
        self._wait_for_life()
        return body

    def _trouble(self) -> bool:
        line = self.uploads.line
        self._wait_for_life()
        if line.reset_next:
            line.reset_next -= 1
            self.close_connection = True
            self.connection.close()
            return True
        return False

    def do_GET(self) -> None:
        """The page, its files, or what is there of an upload."""
        path = self.path.split("?")[0]
        if path.startswith("/v1/uploads/"):
            self.uploads.requests.append(("GET", path, time.monotonic()))
            if not self._trouble():
                self._state(path.rsplit("/", 1)[1])
        elif path.startswith("/studio/static/"):
            data = static_file(path.removeprefix("/studio/static/"))
            if data is None:
                self._answer(404)
            else:
                self._answer(200, data, TYPES.get(Path(path).suffix, "text/plain"))
        elif path in ("/zh", "/en"):
            self._answer(200, PAGE.format(lang=path[1:]).encode(), "text/html; charset=utf-8")
        elif path == "/page.js":
            self._answer(200, SCRIPT.format().encode(), "text/javascript")
        else:
            self._answer(404)

    def _state(self, sha: str) -> None:
        uploads = self.uploads
        with uploads.lock:
            if sha in uploads.done:
                self._json(200, uploads.done[sha][1])
            elif sha in uploads.parts:
                have = sorted(uploads.parts[sha])
                self._json(200, {"complete": False, "length": 0, "have": have})
            else:
                self._json(404, {"code": "upload_unknown", "detail": "unknown"})

    def do_PATCH(self) -> None:
        """One chunk."""
        uploads, sha = self.uploads, self.path.rsplit("/", 1)[1]
        uploads.requests.append(("PATCH", self.path, time.monotonic()))
        if self._trouble():
            return
        body = self._read_body()
        if body is None:
            self.close_connection = True
            return
        if uploads.line.fail_next:
            uploads.line.fail_next -= 1
            self._json(503, {"code": "queue_unavailable", "detail": "Busy.", "detail_zh": "忙。"})
            return
        offset, length = int(self.headers["Upload-Offset"]), int(self.headers["Upload-Length"])
        with uploads.lock:
            parts = uploads.parts.setdefault(sha, {})
            parts[offset] = body
            whole = b"".join(data for _, data in sorted(parts.items()))
            if len(whole) < length:
                self._answer(204)
                return
            del uploads.parts[sha]
        if hashlib.sha256(whole).hexdigest() != sha:
            self._json(422, {"code": "upload_damaged", "detail": "The hash differs."})
            return
        try:
            if whole[:4].decode("latin-1") in uploads.line.refuse:
                raise soundfile.LibsndfileError(0)
            info = soundfile.info(io.BytesIO(whole))
        except soundfile.LibsndfileError:
            self._json(422, NOT_AUDIO)
            return
        answer = {"complete": True, "sha256": sha, "seconds": info.duration, "sample_rate": 24000}
        uploads.done[sha] = (whole, answer)
        self._json(200, answer)

    def do_DELETE(self) -> None:
        """What was sent is dropped."""
        sha = self.path.rsplit("/", 1)[1]
        self.uploads.deleted.append(sha)
        self.uploads.parts.pop(sha, None)
        self._answer(204)


class Server(http.server.ThreadingHTTPServer):
    """Serves on 127.0.0.1; one thread a connection."""

    daemon_threads = True

    def __init__(self) -> None:
        self.uploads = Uploads()
        super().__init__(("127.0.0.1", 0), type("Bound", (Handler,), {"uploads": self.uploads}))
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Browsers hang up; that is part of the test."""
