"""Jobs in memory, behind the routes that the widget uses; tests say what happens to them."""

from __future__ import annotations

import http.server
import io
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import soundfile

RATE = 24000
STATIC = Path(__file__).parents[3] / "service/cosyhost/web/static"
TYPES = {".js": "text/javascript", ".css": "text/css"}
MEDIA_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "pcm": "audio/pcm",
}
ENDED = ("done", "failed", "cancelled")
POLICY = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'"
PAGE = """<!doctype html><html lang="{lang}"><head><meta charset="utf-8"><title>Job</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/static/job.css"><style>{theme}
body {{ margin: 24px auto; padding: 0 12px; max-width: 640px;
  background: var(--body-background-fill); font-family: system-ui, sans-serif }}
#history {{ margin-top: 16px }}
</style></head><body class="{look}"><button id="generate">Generate</button>
<div id="job"></div><div id="history"></div>
<script type="module" src="/page.js"></script></body></html>"""
# What Gradio's default looks come down to, for the variables that the widget reads.
THEME = """
body { --body-background-fill: #fff; --body-text-color: #27272a; --block-background-fill: #fff;
  --background-fill-secondary: #fafafa; --border-color-primary: #e4e4e7; --color-accent: #f97316;
  --block-radius: 4px }
body.dark { --body-background-fill: #18181b; --body-text-color: #f4f4f5;
  --block-background-fill: #27272a; --background-fill-secondary: #18181b;
  --border-color-primary: #3f3f46 }
"""
SCRIPT = """import * as CosyJob from '/static/job.js';
import * as CosyHistory from '/static/history.js';
const lang = document.documentElement.lang;
window.states = [];
window.retried = 0;
window.CosyJob = CosyJob;
window.again = () => CosyJob.mount(document.getElementById('job'), {
  lang, onstate: (job) => window.states.push(job.state), onretry: () => { window.retried += 1; },
});
window.job = window.again();
window.history_ = CosyHistory.mount(document.getElementById('history'), {
  lang, onpick: (id) => window.job.follow(id), onforget: (id) => window.job.drop(id),
});
document.getElementById('generate').onclick = () => {
  CosyJob.unlock();
  if (window.next) window.job.follow(window.next);
};
CosyJob.restore();"""
UNKNOWN = {
    "code": "job_unknown",
    "detail": "There is no such job, or it has expired.",
    "detail_zh": "没有这个任务，或它已过期。",
    "hint": "Generate it again.",
    "hint_zh": "请重新生成。",
}


def voice(seconds: float, rate: int = RATE) -> bytes:
    """PCM that nowhere repeats: a rising tone, loud and soft as syllables are."""
    at = np.arange(int(seconds * rate)) / rate
    loud = 0.1 + 0.8 * np.abs(np.sin(2.1 * at)) * np.abs(np.sin(0.61 * at + 0.4))
    tone = loud * np.sin(2 * np.pi * (140 * at + 9 * at**2))
    return bytes((tone * 20000).astype("<i2").tobytes())


class Job:
    """One job; `tell` changes its document, `speak` makes sound."""

    def __init__(self, job_id: str, **more: Any) -> None:
        self.changed = threading.Condition()
        self.version = 0
        self.rate = RATE
        self.pcm = b""
        self.document: dict[str, Any] = {
            "id": job_id,
            "state": "queued",
            "mode": "zero_shot",
            "engine": None,
            "preview": False,
            "attempts": 0,
            "position": 1,
            "eta_s": None,
            "spoken_s": None,
            "audio_s": None,
            "created_at": round(time.time(), 3),
            "title": "",
            "timings_s": {},
            **more,
        }

    @property
    def state(self) -> str:
        """Where it stands."""
        return str(self.document["state"])

    def tell(self, **more: Any) -> None:
        """Change the document."""
        with self.changed:
            self.document |= more
            self.version += 1
            self.changed.notify_all()

    def start(self) -> None:
        """It is its turn."""
        attempts = self.document["attempts"] + 1
        self.tell(state="running", position=None, eta_s=None, attempts=attempts)

    def speak(self, to_s: float) -> None:
        """Make sound up to there."""
        self.pcm = voice(to_s, self.rate)
        self.tell(spoken_s=round(to_s, 2))

    def end(self, **timings_s: float) -> None:
        """It is done."""
        audio_s = len(self.pcm) / 2 / self.rate
        self.tell(state="done", audio_s=audio_s, timings_s=timings_s)


class Server(http.server.ThreadingHTTPServer):
    """The page and its jobs on a free port."""

    daemon_threads = True

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.requests: list[tuple[str, str]] = []
        self.streams: set[socket.socket] = set()
        self.down = False
        self.pace_bytes_s = 0  # of streams; 0: as fast as it goes
        self.deaf = False  # cancelling does not get through
        self.look = ""
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def add(self, job_id: str = "0123456789abcdef", **more: Any) -> Job:
        """One more job."""
        job = self.jobs[job_id] = Job(job_id, **more)
        return job

    def cut(self) -> int:
        """Break all streams off in the middle; how many there were."""
        cut = list(self.streams)
        for connection in cut:
            connection.shutdown(socket.SHUT_RDWR)
        return len(cut)

    def asked(self, method: str, part: str) -> int:
        """How many requests had that in their address."""
        return sum(1 for verb, path in self.requests if verb == method and part in path)

    def handle_error(self, *args: Any) -> None:
        """A cut connection is no news."""


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection of a browser."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *args: Any) -> None:
        """Silent."""

    def _answer(
        self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _json(self, status: int, document: object) -> None:
        kind = "application/json" if status < 400 else "application/problem+json"
        self._answer(status, json.dumps(document).encode(), kind)

    def _begin_stream(self, kind: str, headers: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        if self.server.pace_bytes_s:
            time.sleep(len(data) / self.server.pace_bytes_s)
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _job(self) -> Job | None:
        self.server.requests.append((self.command, self.path))
        if self.server.down:
            self._answer(502, b"<h1>Bad gateway</h1>", "text/html")
            return None
        job = self.server.jobs.get(urlsplit(self.path).path.split("/")[3])
        if job is None:
            self._json(404, UNKNOWN)
        return job

    def do_DELETE(self) -> None:
        """Cancel; once it has ended, forget."""
        if self.server.deaf:
            self.server.requests.append((self.command, self.path))
            self._answer(503, b"", "text/plain")
        elif (job := self._job()) and job.state in ENDED and "forget=true" in self.path:
            del self.server.jobs[job.document["id"]]
            self._answer(204, b"", "text/plain")
        elif job:
            job.tell(state="cancelled", position=None)
            self._json(200, job.document)

    def do_GET(self) -> None:
        """The page, its files, or what the API says."""
        parts = urlsplit(self.path)
        if parts.path == "/v1/jobs":
            self.server.requests.append((self.command, self.path))
            newest = sorted(self.server.jobs.values(), key=lambda job: -job.document["created_at"])
            self._json(200, {"jobs": [job.document for job in newest]})
        elif parts.path.startswith("/v1/jobs/"):
            if job := self._job():
                kind = parse_qs(parts.query).get("response_format", ["wav"])[0]
                self._of_job(job, parts.path.rsplit("/", 1)[1], kind)
        elif parts.path.startswith("/static/"):
            file = STATIC / Path(parts.path).name
            self._answer(200, file.read_bytes(), TYPES[file.suffix])
        elif parts.path in ("/zh", "/en"):
            page = PAGE.format(lang=parts.path[1:], theme=THEME, look=self.server.look)
            self._answer(200, page.encode(), "text/html; charset=utf-8")
        elif parts.path == "/page.js":
            self._answer(200, SCRIPT.encode(), "text/javascript")
        else:
            self._answer(404, b"", "text/plain")

    def _of_job(self, job: Job, what: str, kind: str) -> None:
        if what == "audio" and job.state == "done":
            self._whole(job, kind)
            return
        if what not in ("events", "audio"):
            self._json(200, job.document)
            return
        self.server.streams.add(self.connection)
        try:
            if what == "events":
                self._events(job)
            else:
                self._live(job)
            self._chunk(b"")
        except OSError:
            self.close_connection = True
        finally:
            self.server.streams.discard(self.connection)

    def _events(self, job: Job) -> None:
        self._begin_stream("text/event-stream", {"Cache-Control": "no-store"})
        told = -1
        while True:
            with job.changed:
                if job.version == told:
                    job.changed.wait(timeout=1)
                fresh, told, document = job.version != told, job.version, dict(job.document)
            line = f"data: {json.dumps(document)}\n\n" if fresh else ": still here\n\n"
            self._chunk(line.encode())
            if document["state"] in ENDED:
                return

    def _live(self, job: Job) -> None:
        with job.changed:
            job.changed.wait_for(lambda: job.pcm or job.state in ENDED)
        if not job.pcm:
            self.close_connection = True
            self._json(409, UNKNOWN | {"code": "job_cancelled"})
            raise ConnectionError
        self._begin_stream("audio/pcm", {"X-CosyHost-Sample-Rate": str(job.rate)})
        sent = 0
        while True:
            with job.changed:
                while len(job.pcm) <= sent and job.state not in ENDED:
                    job.changed.wait()
                fresh = job.pcm[sent:]
            # An odd length: samples are cut in two between chunks.
            for at in range(0, len(fresh), 8191):
                self._chunk(fresh[at : at + 8191])
            sent += len(fresh)
            if job.state in ENDED and sent == len(job.pcm):
                if job.state != "done":
                    self.connection.shutdown(socket.SHUT_RDWR)
                return

    def _whole(self, job: Job, kind: str) -> None:
        data = job.pcm
        if kind != "pcm":
            samples = np.frombuffer(job.pcm, "<i2")
            held = io.BytesIO()
            form, subtype = {"opus": ("OGG", "OPUS"), "mp3": ("MP3", None)}.get(kind, (kind, None))
            soundfile.write(held, samples, job.rate, format=form, subtype=subtype)
            data = held.getvalue()
        # A file name here would win over the link's own.
        self._answer(200, data, MEDIA_TYPES[kind], {"Content-Disposition": "inline"})
