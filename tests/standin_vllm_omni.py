"""A STAND-IN for a vLLM-Omni server: its documented speech API over real HTTP, speaking in tones.

Words in `input` ask for a fault: BUSY (503), FAILS (500, quoting the text as such servers do),
BREAKS (the connection ends amid the sound), MUTE (no sound), ENDLESS (it never stops by itself).
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

_RATE_HZ = 24_000


class Server(ThreadingHTTPServer):
    """Notes what it was asked, and which of it was given up by the client."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.healthy = True
        self.pause_s = 0.002
        self.asked: list[dict[str, Any]] = []
        self.given_up = threading.Event()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/health" and self.server.healthy else 503, {})

    def do_POST(self) -> None:
        wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(wish)
        text = wish["input"]
        if self.path != "/v1/audio/speech":
            self._answer(404, {})
        elif not wish.get("ref_text") or not wish.get("ref_audio", "").startswith("data:audio/"):
            self._answer(400, {"error": {"message": "CosyVoice3 requires 'ref_text'"}})
        elif wish.get("speed", 1) != 1 and wish.get("stream_format"):
            self._answer(400, {"error": {"message": "speed is not supported with streaming"}})
        elif "BUSY" in text:
            self._answer(503, {})
        elif "FAILS" in text:
            self._answer(500, {"error": {"message": f"could not speak {text}"}})
        else:
            self._speak(wish, text)

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _speak(self, wish: dict[str, Any], text: str) -> None:
        base64.b64decode(wish["ref_audio"].partition(",")[2], validate=True)
        self.send_response(200)
        self.send_header("Content-Type", "audio/pcm")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        pitch = np.random.default_rng(wish["seed"]).uniform(100, 300)
        seconds = 0.0 if "MUTE" in text else len(text) * 0.2 / wish.get("speed", 1)
        times = np.arange(int(seconds * _RATE_HZ)) / _RATE_HZ
        sound = (8000 * np.cos(2 * np.pi * pitch * times)).astype("<i2").tobytes()
        try:
            # An odd size: samples are cut in two, as a network cuts them.
            for start in range(0, len(sound), 4801):
                time.sleep(self.server.pause_s)
                self._chunk(sound[start : start + 4801])
                if "BREAKS" in text:
                    self.close_connection = True
                    return
            while "ENDLESS" in text:
                time.sleep(0.01)
                self._chunk(sound[:480])
            self._chunk(b"")
        except OSError:
            self.server.given_up.set()
            self.close_connection = True

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


@contextmanager
def served() -> Iterator[Server]:
    """The server on a loopback port, until the context ends."""
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
