"""The exporter's HTTP: one page over plain sockets, since http.server would cost 4 MB of memory.

Prometheus keeps its connection: each has a thread, of which there are a few at most.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable

from cosyhost.errors import EXPORTER_ADDRESS, Problem
from cosyhost.exporter.exposition import CONTENT_TYPE

_CONNECTIONS_MAX = 16
_HEAD_MAX_BYTES = 8192
_IDLE_S = 75  # longer than any scrape interval here
_METRICS, _PLAIN = CONTENT_TYPE, "text/plain; charset=utf-8"
_HOME = "CosyHost exporter: /metrics\n"


class Server:
    """Serves what `text` returns at /metrics.

    Raises:
        Problem: EXPORTER_ADDRESS, when it can't listen there.
    """

    def __init__(self, text: Callable[[], str], host: str, port: int) -> None:
        self._text = text
        self._free = threading.BoundedSemaphore(_CONNECTIONS_MAX)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family, backlog=32)
        except OSError as error:
            # create_server adds to strerror what is in `address` already.
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise Problem(EXPORTER_ADDRESS, address=f"{host}:{port}", reason=reason) from None
        self.port: int = self._socket.getsockname()[1]

    def run(self) -> None:
        """Serve until the process ends."""
        while True:
            connection, _ = self._socket.accept()
            if not self._free.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(_IDLE_S)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                waiting = b""
                go_on = True
                while go_on:
                    while b"\r\n\r\n" not in waiting:
                        more = connection.recv(_HEAD_MAX_BYTES)
                        waiting += more
                        if not more or len(waiting) > _HEAD_MAX_BYTES:
                            return
                    head, _, waiting = waiting.partition(b"\r\n\r\n")
                    answer, go_on = self._answer(head)
                    connection.sendall(answer)
        except OSError:
            return  # the other side went away, or was idle for too long
        finally:
            self._free.release()

    def _answer(self, head: bytes) -> tuple[bytes, bool]:
        """The answer to a request, and whether the connection stays."""
        first, _, fields = head.partition(b"\r\n")
        words = first.split()
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _response("400 Bad Request", "This is no HTTP request.\n"), False
        method, target, version = words
        path = target.partition(b"?")[0]
        # A body would be taken for the next request.
        go_on = version != b"HTTP/1.0" and method in (b"GET", b"HEAD")
        go_on = go_on and b"\r\nconnection: close" not in b"\r\n" + fields.lower()
        if method not in (b"GET", b"HEAD"):
            answer = _response("405 Method Not Allowed", "Only GET.\n", allow="GET, HEAD")
        elif path == b"/metrics":
            answer = _response("200 OK", self._text(), kind=_METRICS)
        elif path == b"/":
            answer = _response("200 OK", _HOME)
        else:
            answer = _response("404 Not Found", "Nothing here; the metrics are at /metrics.\n")
        if method == b"HEAD":
            answer = answer[: answer.index(b"\r\n\r\n") + 4]
        return answer, go_on


def _response(status: str, body: str, kind: str = _PLAIN, allow: str = "") -> bytes:
    content = body.encode()
    head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(content)}"]
    head += [f"Allow: {allow}"] if allow else []
    return "\r\n".join([*head, "", ""]).encode() + content
