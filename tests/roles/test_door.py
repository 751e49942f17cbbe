"""The rendered site in a real nginx, before a small service that answers as it is asked to."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest

from tests.debs import program
from tests.roles.conftest import ROOT, ansible, load

LIMIT = 1 << 20
PATIENCE_S = 2
TEXT = b"{" + b" " * 5000 + b"}"
SOUND = b"RIFF" + bytes(9996)


class Service(BaseHTTPRequestHandler):
    """Answers `/status/503` with 503, `/slow` late, `/early` before the body is there, and with
    sound at the addresses of sound."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.close_connection = self.path.endswith("/early")
        if not self.close_connection:
            self.rfile.read(length)
        path = self.path.partition("?")[0]
        if path.endswith("/slow"):
            time.sleep(3)
        status = int(path.rpartition("/")[2]) if "/status/" in path else 200
        sound = path.startswith(("/v1/audio/speech", "/v1/jobs/"))
        data = SOUND if sound else TEXT
        kind = "audio/wav" if sound else "application/json"
        headers = {"ETag": '"x"', "Accept-Ranges": "bytes", "X-Got": str(length)}
        headers["X-Waited"] = self.headers.get("X-CosyHost-Upload-S", "")
        if "timing=" in self.path:
            headers["Server-Timing"] = unquote(self.path.partition("timing=")[2])
        if path == "/own-policy":
            headers["Content-Security-Policy"] = "default-src 'none'"
        if asked := self.headers.get("Range"):
            first, last = map(int, asked.removeprefix("bytes=").split("-"))
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            status, data = 206, data[first : last + 1]
        self.send_response(status)
        for name, value in {**headers, "Content-Type": kind}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_DELETE = answer

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Door:
    """A running nginx."""

    def __init__(self, port: int, status_port: int, log: Path) -> None:
        self.port = port
        self.status_port = status_port
        self._log, self._read = log, 0
        self.folder = log.parent

    def log(self, lines: int) -> list[dict[str, Any]]:
        """The access log once it has so many more lines than at the last call."""
        wanted, self._read = self._read + lines, self._read + lines
        for _ in range(200):  # a line is written after its answer
            if len(text := self._log.read_text("utf-8").splitlines()) >= wanted:
                break
            time.sleep(0.01)
        assert len(text) == wanted
        return [json.loads(line) for line in text[wanted - lines :]]

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """One request on a connection of its own; `_` in a header's name is written `-`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()


@contextmanager
def door(tier: str, folder: Path, **values: Any) -> Iterator[Door]:
    """The tier's site, on a free port before a service of its own."""
    port, status_port = free_port(), free_port()
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    said = {
        "render_templates": [str(ROOT / "roles/edge/templates/site.conf.j2")],
        "render_to": str(folder),
        "render_roles": ["tls", "edge"],
        "redis_hosts": ["one"],
        "edge_listen": [f"127.0.0.1:{port}"],
        "edge_upstream": f"127.0.0.1:{upstream.server_port}",
        "edge_status_listen": f"127.0.0.1:{status_port}",
        "edge_body_limit_bytes": LIMIT,
        "edge_slow_upload_patience_s": PATIENCE_S,
        "edge_upstream_timeout_s": 1,
        "edge_api_requests_per_second": 1000,
        "edge_brotli": False,
        **values,
    }
    inventory = folder / "inventory"
    left_out = shutil.ignore_patterns("secrets")
    shutil.copytree(ROOT / "inventories" / tier, inventory, ignore=left_out)
    told = ("-i", inventory, "-e", json.dumps(said), "tests/roles/render.yml")
    run = ansible("ansible-playbook", *told)
    assert run.returncode == 0, run.stdout + run.stderr
    (found,) = folder.glob("*.json")
    moved = {
        "/var/log/cosyhost": folder,
        "/etc/nginx/cosyhost-error.html": ROOT / "files/edge/error.html",
        "/etc/cosyhost/tls": folder / "tls",
        "/var/lib/cosyhost-tls/public": folder / "tls/public",
    }
    texts: dict[str, str] = json.loads(found.read_text("utf-8"))
    for name, text in texts.items():
        for there, here in moved.items():
            text = text.replace(there, str(here))
        texts[name] = text
    site = folder / "site.conf"
    site.write_text(texts["site.conf"], "utf-8")
    if "nginx.conf" in texts:  # with TLS: test_tls.py
        (folder / "tls/nginx.conf").write_text(texts["nginx.conf"], "utf-8")
    scratch = "".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = folder / "nginx.conf"
    main.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
        "worker_processes 2; events { worker_connections 768; }\n"  # Debian's
        f"http {{ {scratch} include {site}; }}\n"
    )
    folder.chmod(0o755)
    server = subprocess.Popen(
        [program("nginx", "nginx"), "-p", folder, "-e", folder / "error.log", "-c", main]
    )
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, (folder / "error.log").read_text()
            time.sleep(0.05)
        yield Door(port, status_port, folder / "nginx-access.log")
    finally:
        server.terminate()
        server.wait(20)
        upstream.shutdown()
        upstream.server_close()


Open = Callable[..., Door]


@pytest.fixture(scope="module")
def open_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """A function that starts a tier's door; all close with the module."""
    with ExitStack() as doors:

        def begin(tier: str, **values: Any) -> Door:
            return doors.enter_context(door(tier, tmp_path_factory.mktemp(tier), **values))

        yield begin


@pytest.fixture(scope="module")
def lan(open_door: Open) -> Door:
    """The door of a LAN."""
    return open_door("lan")


@pytest.fixture(scope="module")
def deserted(open_door: Open) -> Door:
    """A door before a service that isn't there."""
    return open_door("lan", edge_upstream=f"127.0.0.1:{free_port()}")


BROKEN: dict[str, tuple[str, dict[str, Any]]] = {
    "405": ("/anything", {"method": "TRACE"}),
    "413": ("/anything", {"method": "POST", "body": bytes(LIMIT + 1)}),
    "414": ("/anything?" + "x" * 40_000, {}),
    "431": ("/anything", {"X_Large": "x" * 40_000}),
    "504": ("/slow", {}),
}


def is_problem(status: str, answer: http.client.HTTPResponse, body: bytes) -> None:
    """A problem document in both languages, as the service writes them."""
    assert answer.status == int(status)
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = json.loads(body)
    assert document["status"] == int(status)
    error = load(ROOT / "roles/edge/vars/main.yml")["__edge_errors"][status]
    assert document["code"] == document["error"]["code"] == error["code"]
    assert document["hint"] == error["hint"]
    assert re.search("[\u4e00-\u9fff]", document["detail_zh"] + document["hint_zh"])
    assert answer.headers["Retry-After"] == (str(error["retry"]) if "retry" in error else None)


def is_page(status: str, answer: http.client.HTTPResponse, body: bytes) -> None:
    """A page a person can read, in both languages."""
    assert answer.status == int(status)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    error = load(ROOT / "roles/edge/vars/main.yml")["__edge_errors"][status]
    for words in (error["code"], error["hint"], error["hint_zh"], f"· {status} ·"):
        assert words in body.decode(), words


@pytest.mark.parametrize("status", BROKEN)
def test_programs_get_a_problem_document(lan: Door, status: str) -> None:
    path, request = BROKEN[status]
    is_problem(status, *lan.ask("/v1" + path, **request))


@pytest.mark.parametrize("status", BROKEN)
def test_people_get_a_page(lan: Door, status: str) -> None:
    path, request = BROKEN[status]
    is_page(status, *lan.ask(path, **request))


def test_a_service_that_is_away_is_said_to_both(deserted: Door) -> None:
    is_problem("502", *deserted.ask("/v1/models"))
    is_page("502", *deserted.ask("/"))


@pytest.mark.parametrize("path", ["/metrics", "/gradio_api/upload", "/status/404"])
def test_an_address_that_is_not_there_is_a_page(lan: Door, path: str) -> None:
    is_page("404", *lan.ask(path))


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/1", "/v1/audio/voices", "/readyz"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_reaches_the_service_as_it_was(lan: Door, path: str, method: str) -> None:
    answer, _ = lan.ask(path, method, b"12345")
    assert (answer.status, answer.headers["X-Got"]) == (200, "5")


@pytest.mark.parametrize(
    "path", ["/", "/v1/models", "/v1/jobs/1/audio", "/v1/status/404", "/status/404", "/metrics"]
)
def test_every_answer_says_what_a_browser_may_do_with_it(lan: Door, path: str) -> None:
    answer, _ = lan.ask(path)
    (policy,) = answer.headers.get_all("Content-Security-Policy", [])
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search("'unsafe-eval'|script-src[^;]*'unsafe-inline'", policy)
    assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"]
    assert answer.headers.get_all("Referrer-Policy") == ["same-origin"]
    assert "microphone=(self)" in answer.headers["Permissions-Policy"]
    assert answer.headers["Server"] == "nginx"


def test_a_page_keeps_the_policy_the_service_gave_it(lan: Door) -> None:
    answer, _ = lan.ask("/own-policy")
    assert answer.headers.get_all("Content-Security-Policy") == ["default-src 'none'"]


@pytest.mark.parametrize("path", ["/v1/status/404", "/v1/status/503", "/v1/jobs/status/429"])
def test_what_the_service_says_to_programs_is_left_to_it(lan: Door, path: str) -> None:
    answer, body = lan.ask(path)
    assert answer.status == int(path[-3:])
    assert body in (TEXT, SOUND)


def test_strangers_and_crowds_are_told_so(open_door: Open) -> None:
    closed = open_door("lan", edge_allow=["192.0.2.0/24"], edge_api_requests_per_second=1)
    is_problem("403", *closed.ask("/v1/models"))
    is_page("403", *closed.ask("/"))
    narrow = open_door("lan", edge_api_requests_per_second=1)
    answers = [narrow.ask("/v1/models") for _ in range(12)]
    late = [(answer, body) for answer, body in answers if answer.status == 429]
    assert late
    is_problem("429", *late[0])


@pytest.mark.parametrize(("tier", "packed"), [("local", True), ("lan", False), ("demo", True)])
def test_sound_is_compressed_where_the_tier_says(
    open_door: Open, tier: str, packed: bool, request: pytest.FixtureRequest
) -> None:
    here = open_door(tier)
    text, body = here.ask("/v1/models", Accept_Encoding="gzip")
    assert text.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == TEXT
    speech, _ = here.ask("/v1/audio/speech", "POST", b"{}", Accept_Encoding="gzip")
    assert (speech.headers["Content-Encoding"] == "gzip") == packed
    kept, body = here.ask("/v1/jobs/1/audio", Accept_Encoding="gzip", Range="bytes=4-9")
    assert (kept.status, body) == (206, SOUND[4:10])
    assert kept.headers["ETag"] == '"x"'
    assert kept.headers["Content-Encoding"] is None


def test_an_upload_may_be_slow_but_not_stand_still(lan: Door) -> None:
    def send(pause_s: float) -> bytes:
        with socket.create_connection(("127.0.0.1", lan.port), timeout=30) as line:
            line.sendall(
                b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                b"Content-Length: 5\r\n\r\n"
            )
            for _ in range(5):
                time.sleep(pause_s)
                try:
                    line.sendall(b"x")
                except OSError:
                    return b""
            return line.recv(1000)

    answer = send(PATIENCE_S / 4)
    assert answer.startswith(b"HTTP/1.1 200")
    waited = re.search(rb"X-Waited: ([0-9.]+)", answer)
    assert waited, "the service is not told how long the body took"
    assert 4 * PATIENCE_S / 4 < float(waited[1]) < 3 * PATIENCE_S
    assert not send(PATIENCE_S * 2).startswith(b"HTTP/1.1 200")


ID = "0b54a2f7c3de4f6f9a3b5b1f0c7a9e21"
SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
LOGGED = {
    f"/v1/jobs/{ID}": "/v1/jobs/...",
    f"/v1/jobs/{ID}/audio?response_format=flac": "/v1/jobs/.../audio",
    f"/v1/jobs/{ID}/events": "/v1/jobs/.../events",
    f"/v1/jobs/{ID}%2Fx/{ID}": "/v1/jobs/...",
    f"/v1/uploads/{SHA}": "/v1/uploads/...",
    "/v1/audio/voices/Alice/audio": "/v1/audio/voices/...",
    "/v1/jobs": "/v1/jobs",
    "/v1/jobs?x=1": "/v1/jobs",
    "/v1/audio/speech": "/v1/audio/speech",
}


@pytest.fixture(scope="module")
def watched(open_door: Open) -> Door:
    """A door whose log is read: nobody else goes through it."""
    return open_door("lan")


def test_the_log_names_no_job_upload_or_voice(watched: Door) -> None:
    for path in LOGGED:
        watched.ask(path)
    lines = watched.log(len(LOGGED))
    assert [line["path"] for line in lines] == list(LOGGED.values())
    assert not re.search(f"{ID}|{SHA}|Alice", json.dumps(lines))


def test_nor_does_what_nginx_says_of_its_own_errors(
    lan: Door, deserted: Door, open_door: Open
) -> None:
    """Its error log has the whole address in each line, and cannot be told to leave it out."""
    closed = open_door("lan", edge_allow=["192.0.2.0/24"])
    narrow = open_door("lan", edge_api_requests_per_second=1)
    for door in (lan, deserted, closed, narrow):
        seen = set()
        for path in (f"/v1/jobs/{ID}", f"/v1/audio/voices/Alice?x={ID}", f"/slow?{ID}"):
            seen |= {door.ask(path)[0].status for _ in range(6)}
            seen.add(door.ask(path, "POST", bytes(LIMIT + 1))[0].status)
        assert seen & {403, 413, 429, 502, 504}
        for log in door.folder.glob("*.log"):
            assert not re.search(f"{ID}|Alice", log.read_text("utf-8")), log


def test_the_log_says_where_a_jobs_seconds_went(watched: Door) -> None:
    whole = (
        'upload;dur=9100.0;desc="910000 bytes", queue;dur=800.0, ttfa;dur=1100.5, '
        "synth;dur=2000.0, encode;dur=0.1"
    )
    for timing in (whole, "upload;dur=0.4, queue;dur=3.0, ttfa;dur=21.0", 'x;desc="\\"', ""):
        watched.ask("/v1/audio/speech?timing=" + quote(timing), "POST", b"12345")
    first, streamed, strange, without = watched.log(4)
    names = ("upload_bytes", "upload_ms", "queue_ms", "ttfa_ms", "synth_ms", "encode_ms")

    def figures(line: dict[str, Any]) -> list[float | None]:
        return [line[name] for name in names]

    assert figures(first) == [910_000, 9100, 800, 1100.5, 2000, 0.1]
    assert first["upload_bytes"] * 8 / first["upload_ms"] / 1000 == pytest.approx(0.8)  # Mbit/s
    assert figures(streamed) == [None, 0.4, 3, 21, None, None]
    assert figures(strange) == figures(without) == [None] * 6
    assert first["request_s"] >= 0
    assert first["in_bytes"] > 5
    assert first["out_bytes"] > len(SOUND)


def test_connections_are_counted_for_the_exporter_alone(lan: Door) -> None:
    inside = Door(lan.status_port, 0, Path())
    answer, body = inside.ask("/nginx_status")
    assert answer.status == 200
    assert body.startswith(b"Active connections: ")
    answer, body = inside.ask("/v1/models")
    assert (answer.status, answer.headers["Server"]) == (404, "nginx")
    _, body = lan.ask("/nginx_status")
    assert b"Active" not in body


def test_the_exporters_address_is_not_the_users(tmp_path: Path) -> None:
    said = {
        "render_templates": [],
        "render_to": str(tmp_path),
        "render_roles": ["tls", "edge"],
        "redis_hosts": ["one"],
        "edge_listen": ["127.0.0.1:7863"],
    }
    told = ("-i", "inventories/lan", "-e", json.dumps(said), "tests/roles/render.yml")
    run = ansible("ansible-playbook", *told)
    assert run.returncode == 2
    assert "[COSY-EDGE-VALUES]" in run.stdout
    assert "edge_status_listen is an address and a port" in " ".join(run.stdout.split())


def test_a_check_of_the_line_passes_as_it_comes(lan: Door) -> None:
    """The service sees a check's body while it is still being sent."""
    with socket.create_connection(("127.0.0.1", lan.port), timeout=30) as line:
        line.sendall(
            b"POST /v1/netcheck/early HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Content-Length: 100000\r\n\r\n"
        )
        assert line.recv(1000).startswith(b"HTTP/1.1 200")
    sound, _ = lan.ask("/v1/netcheck/download?bytes=10", Accept_Encoding="gzip")
    assert sound.headers["Content-Encoding"] is None


def test_checks_have_a_limit_of_their_own(open_door: Open) -> None:
    """Four checks of 25 requests pass at once, where the API's own limit is one a second."""
    narrow = open_door("lan", edge_api_requests_per_second=1)
    answers = [narrow.ask("/v1/netcheck/ping") for _ in range(150)]
    assert {answer.status for answer, _ in answers[:100]} == {200}
    late = [(answer, body) for answer, body in answers if answer.status == 429]
    assert late
    is_problem("429", *late[0])
    assert narrow.ask("/v1/models")[0].status == 200
