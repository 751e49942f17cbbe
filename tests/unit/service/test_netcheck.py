"""The network check: over the real service, on shaped and broken lines, and at wrong addresses."""

from __future__ import annotations

import http.server
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
import msgspec
import pytest
from fastapi.testclient import TestClient

from cosyhost import netcheck, wire
from cosyhost.cli import main
from cosyhost.config import Config
from cosyhost.errors import Problem
from cosyhost.netcheck import measure, report
from cosyhost.netcheck.measure import Checked, Rate, Terms
from cosyhost.web import netcheck as routes
from cosyhost.web.app import create_app
from tests.unit.service.conftest import ROOT, free_port

TERMS = Terms("1", "demo", 50, 50, 4_000_000, 2_000_000, 15, {
    way: wire.CODECS[way].weighs(15) for way in wire.PROMPT_WAYS
})  # fmt: skip


# The routes


def test_the_document_says_what_the_tier_asks_and_what_a_request_may_carry(
    service: httpx.Client, config: Config
) -> None:
    document = service.get("/v1/netcheck").json()
    assert document["tier"] == config.tier
    assert document["link"] == {"min_up_mbit": 50, "min_down_mbit": 40}
    assert document["limits"] == {"download_bytes": 4_000_000, "upload_bytes": 2_000_000}
    assert document["prompt"]["bytes"] == {"wav48": 2_880_044, "flac": 414_792, "opus": 122_325}


def test_a_ping_is_empty_and_kept_by_nobody(service: httpx.Client) -> None:
    answer = service.get("/v1/netcheck/ping")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "no-store" in answer.headers["cache-control"]


def test_a_download_cannot_be_made_smaller(service: httpx.Client) -> None:
    answer = service.get(
        "/v1/netcheck/download?bytes=300001", headers={"Accept-Encoding": "gzip, br"}
    )
    assert len(answer.content) == 300_001
    assert answer.headers["content-length"] == "300001"
    assert "content-encoding" not in answer.headers
    assert "no-store" in answer.headers["cache-control"]
    assert len(zlib.compress(answer.content)) > 300_001
    assert service.get("/v1/netcheck/download?bytes=300001").content != answer.content


@pytest.mark.parametrize(
    "query", ["", "?bytes=0", "?bytes=-1", "?bytes=4000001", "?bytes=1e3", "?bytes=" + "9" * 400]
)
def test_a_download_of_no_sensible_size_is_refused(service: httpx.Client, query: str) -> None:
    answer = service.get(f"/v1/netcheck/download{query}")
    assert answer.status_code == 422
    assert answer.json()["code"] == "request_invalid"
    assert "bytes" in answer.json()["detail"]


def test_the_largest_download_comes_whole(service: httpx.Client) -> None:
    assert len(service.get("/v1/netcheck/download?bytes=4000000").content) == 4_000_000


@pytest.mark.parametrize("size", [0, 1, 70_000, 2_000_000])
def test_an_upload_is_counted_and_dropped(service: httpx.Client, size: int) -> None:
    assert service.post("/v1/netcheck/upload", content=bytes(size)).json() == {"bytes": size}


def in_pieces(size: int) -> Iterator[bytes]:
    """A body whose length nobody declares."""
    for _ in range(size // 1000):
        yield bytes(1000)


def test_an_upload_over_the_limit_is_refused(service: httpx.Client) -> None:
    declared = service.post("/v1/netcheck/upload", content=bytes(2_000_001))
    assert declared.status_code == 413
    undeclared = service.post("/v1/netcheck/upload", content=in_pieces(2_001_000))
    assert (undeclared.status_code, undeclared.json()["code"]) == (413, "netcheck_too_much")
    assert "2000000" in undeclared.json()["detail_zh"]
    assert "netcheck_too_much" in service.get("/metrics").text


def test_a_tier_with_a_smaller_limit_takes_less(config: Config) -> None:
    limits = msgspec.structs.replace(config.limits, body_bytes=1_000_000)
    with TestClient(create_app(msgspec.structs.replace(config, limits=limits), None)) as client:
        assert client.get("/v1/netcheck").json()["limits"]["upload_bytes"] == 1_000_000
        assert client.post("/v1/netcheck/upload", content=bytes(1_000_001)).status_code == 413
        assert client.post("/v1/netcheck/upload", content=bytes(1_000_000)).status_code == 200


# The command against the real service


def test_the_command_measures_and_tells(
    service: httpx.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    url = str(service.base_url)
    began = time.monotonic()
    assert main(["netcheck", url, "--json"]) == netcheck.WELL
    assert time.monotonic() - began < 25
    document = json.loads(capsys.readouterr().out)
    assert document["url"] == url.rstrip("/")
    assert document["problem"] is None
    assert document["holds"] is True
    assert 0 < document["latency_ms"] < 1000
    assert document["asked"] == {"min_up_mbit": 50, "min_down_mbit": 40}
    for way in ("download", "upload"):
        counted = document["counted"][way]
        shown = counted["bytes"] * 8 / 1e6 / counted["seconds"]
        assert document[f"{way}_mbit_s"] == pytest.approx(shown, rel=0.05)
    assert main(["netcheck", url]) == netcheck.WELL
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.count("\n") == 6
    assert "A 15 s prompt takes" in said.out
    assert "15 秒的提示音频" in said.out


def test_it_needs_no_package_and_no_settings(service: httpx.Client) -> None:
    """As the control machine runs it: the sources and Python's own library."""
    ran = subprocess.run(
        ["/usr/bin/python3", "-S", "-m", "cosyhost.cli", "netcheck", str(service.base_url)],
        env={"PYTHONPATH": str(ROOT / "service"), "HTTP_PROXY": "http://127.0.0.1:1",
             "http_proxy": "http://127.0.0.1:1"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Mbit/s" in ran.stdout


@contextmanager
def between(
    to: int, bytes_s: float = 0, upload_dies_after: int = 0, download_dies_after: int = 0
) -> Iterator[str]:
    """The service over a line of its own: so many bytes a second each way, and cut where said."""
    listening = socket.create_server(("127.0.0.1", 0))

    def carry(source: socket.socket, target: socket.socket, dies_after: int) -> None:
        passed, due = 0, time.monotonic()
        while block := source.recv(8192):
            passed += len(block)
            if dies_after and passed > dies_after:
                break
            if bytes_s:
                due = max(due, time.monotonic()) + len(block) / bytes_s
                time.sleep(max(0.0, due - time.monotonic()))
            target.sendall(block)

    def until_broken(source: socket.socket, target: socket.socket, dies_after: int) -> None:
        with suppress(OSError):
            carry(source, target, dies_after)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def serve() -> None:
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", to))
            for line in ((near, far, upload_dies_after), (far, near, download_dies_after)):
                threading.Thread(target=until_broken, args=line, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    with closing(listening):
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_thin_line_is_measured_and_is_not_enough(
    service: httpx.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    with between(service.base_url.port or 0, bytes_s=1_000_000) as url:
        assert main(["netcheck", url, "--json"]) == netcheck.THIN
    document = json.loads(capsys.readouterr().out)
    # A busy machine makes the line thinner yet; megabytes taken for megabits would be far off.
    assert 3 < document["download_mbit_s"] < 8.8
    assert 3 < document["upload_mbit_s"] < 8.8
    assert document["holds"] is False
    assert "too thin" in document["said"]["en"][2]
    assert document["prompt_upload_s"]["wav48"] == pytest.approx(
        2.88 * 8 / document["upload_mbit_s"], rel=0.05
    )


@pytest.mark.parametrize(
    ("cut", "step"),
    [({"download_dies_after": 300_000}, "download"), ({"upload_dies_after": 300_000}, "upload")],
)
def test_a_line_that_breaks_is_named_with_its_step(
    service: httpx.Client, cut: dict[str, int], step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with between(service.base_url.port or 0, **cut) as url:
        assert main(["netcheck", url, "--lang", "en"]) == netcheck.NOT_ASKED
    said = capsys.readouterr().err
    assert "netcheck_broken_off" in said
    assert f"during {step}" in said


# Wrong addresses


def refusal(url: str, *more: str) -> str:
    """The code with which a check ends that could not be made."""
    ran = subprocess.run(
        [sys.executable, "-m", "cosyhost.cli", "netcheck", url, "--json", *more],
        env={"PYTHONPATH": str(ROOT / "service")},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode == netcheck.NOT_ASKED, ran.stdout + ran.stderr
    assert ran.stderr == ""
    problem = json.loads(ran.stdout)["problem"]
    assert re.search("[\u4e00-\u9fff]", problem["detail_zh"] + problem["hint_zh"])
    return str(problem["code"])


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "voice.example", "ftp://host", "http://", "https://:443", "http://host:0",
     "http://host:99999", "http://host:x", "http://a b", "http://[::1", "http://me:secret@host",
     "http://host\nX-Y: z", "/v1/netcheck"],
)  # fmt: skip
def test_what_is_no_address_is_refused_before_anything_is_asked(url: str) -> None:
    with pytest.raises(Problem) as refused:
        netcheck.check(url)
    assert refused.value.kind.code in ("netcheck_url_invalid", "netcheck_unreachable")
    if "\n" not in url:
        assert refused.value.kind.code == "netcheck_url_invalid"


def test_a_closed_port_and_an_unknown_name_are_said() -> None:
    assert refusal(f"http://127.0.0.1:{free_port()}") == "netcheck_unreachable"
    assert refusal("http://nowhere.invalid") == "netcheck_unreachable"
    assert refusal("http://" + "x" * 70 + ".invalid") == "netcheck_url_invalid"


class Stranger(http.server.BaseHTTPRequestHandler):
    """Somebody else's server; its `says` is status, type and body, and more headers."""

    protocol_version = "HTTP/1.1"
    says: tuple[int, str, bytes, dict[str, str]]

    def do_GET(self) -> None:
        """Say it."""
        status, kind, body, more = self.says
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


Say = Callable[..., str]


@pytest.fixture
def stranger() -> Iterator[Say]:
    """A function that starts a server of a stranger: its URL."""
    servers = []

    def begin(
        status: int, kind: str, body: bytes, context: ssl.SSLContext | None = None, **more: str
    ) -> str:
        says = {"says": (status, kind, body, more)}
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Stranger,), says))
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return f"http{'s' if context else ''}://127.0.0.1:{server.server_port}"

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


PROBLEM = "application/problem+json"


def problem(status: int, code: str) -> tuple[int, str, bytes]:
    """As our own door and service refuse."""
    document = {"type": f"urn:cosyhost:problem:{code}", "code": code, "detail": "No."}
    return status, PROBLEM, json.dumps(document).encode()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((200, "text/html", b"<h1>Welcome to nginx!</h1>"), "netcheck_not_cosyhost"),
        ((200, "application/json", b'{"service": "other"}'), "netcheck_not_cosyhost"),
        ((200, "application/json", b'{"service": "cosyhost"}'), "netcheck_not_cosyhost"),
        ((200, "application/json", b'{"service": "cos'), "netcheck_not_cosyhost"),
        ((200, "application/json", b"[]"), "netcheck_not_cosyhost"),
        ((404, "text/html", b"<h1>404</h1>"), "netcheck_not_cosyhost"),
        ((503, "text/html", b"<h1>503</h1>"), "netcheck_not_cosyhost"),
        (problem(404, "not_found"), "netcheck_not_cosyhost"),
        (problem(403, "not_from_here"), "netcheck_refused"),
        (problem(503, "service_starting"), "netcheck_refused"),
        (problem(429, "too_many_requests"), "netcheck_too_often"),
    ],
)
def test_a_page_that_is_not_ours_is_told_from_a_refusal(
    stranger: Say, answer: tuple[int, str, bytes], code: str
) -> None:
    with pytest.raises(Problem) as refused:
        netcheck.check(stranger(*answer))
    assert refused.value.kind.code == code


def test_an_address_that_moved_is_named(stranger: Say) -> None:
    with pytest.raises(Problem) as refused:
        netcheck.check(stranger(301, "text/html", b"", Location="https://voice.example/"))
    assert refused.value.kind.code == "netcheck_moved"
    assert "https://voice.example/" in refused.value.sentence("zh")


def test_what_speaks_no_http_is_said() -> None:
    for banner in (b"SSH-2.0-OpenSSH_9.2\r\n", b"", b"\x00" * 70_000):
        with socket.create_server(("127.0.0.1", 0)) as listening:

            def speak(listening: socket.socket = listening, banner: bytes = banner) -> None:
                line, _ = listening.accept()
                with line:
                    line.recv(1000)
                    line.sendall(banner)

            threading.Thread(target=speak, daemon=True).start()
            with pytest.raises(Problem) as refused:
                netcheck.check(f"http://127.0.0.1:{listening.getsockname()[1]}")
        assert refused.value.kind.code == "netcheck_not_cosyhost"


def test_a_greeting_with_endless_limits_is_not_obeyed() -> None:
    sizes: list[int] = []

    def transfer(size: int) -> Rate:
        sizes.append(size)
        return Rate(size, 1e-4)

    measure.rate_of(transfer, 10**15)
    assert sum(sizes) <= measure.MOST_BYTES
    sizes.clear()
    measure.rate_of(transfer, 1000)
    assert len(sizes) <= measure.MOST_TRANSFERS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate for another name, and a server's context with it."""
    folder = tmp_path_factory.mktemp("tls")
    key, made = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", key, "-out", made, "-days", "2", "-subj", "/CN=voice.example",
         "-addext", "subjectAltName=DNS:voice.example"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    return made, context


def test_tls_that_does_not_fit_is_said_with_its_reason(
    stranger: Say, certificate: tuple[Path, ssl.SSLContext], tmp_path: Path
) -> None:
    made, context = certificate
    url = stranger(200, "text/html", b"", context)
    assert refusal(url) == "netcheck_tls_failed", "nobody we trust has signed it"
    assert refusal(url, "--ca", str(made)) == "netcheck_tls_failed", "it is for another name"
    with pytest.raises(Problem, match="IP address mismatch"):
        netcheck.check(url, made)
    plain = stranger(200, "text/html", b"")
    assert refusal(plain.replace("http:", "https:")) == "netcheck_tls_failed", "there is no TLS"
    assert refusal(url, "--ca", str(tmp_path / "none.pem")) == "netcheck_tls_failed"


# The sums and the words


def checked(down: float, up: float, terms: Terms = TERMS) -> Checked:
    """A line of so many Mbit/s, measured over a second."""
    rates = [Rate(round(mbit * 125_000), 1.0) for mbit in (down, up)]
    return Checked("http://host", terms, 0.041, 0.002, *rates)


@pytest.mark.parametrize(("size", "seconds"), [(2_880_044, 4.9), (1, 0.001), (4_000_000, 0.032)])
def test_mbit_s_is_bytes_times_8_over_a_million_and_seconds(size: int, seconds: float) -> None:
    assert Rate(size, seconds).mbit_s == pytest.approx(size * 8 / 1e6 / seconds)
    shown = netcheck.document(Checked("", TERMS, 0, 0, Rate(size, seconds), Rate(size, seconds)))
    assert shown["upload_mbit_s"] == pytest.approx(size * 8 / 1e6 / seconds, abs=0.001)


def test_the_sentence_says_what_a_prompt_takes() -> None:
    english, chinese = (netcheck.sentences(checked(18.8, 4.7), lang) for lang in ("en", "zh"))
    assert english[0] == ("Latency 41 ms, jitter 2.0 ms; download 18.8 Mbit/s, upload 4.7 Mbit/s.")
    assert english[1] == (
        "A 15 s prompt takes 4.9 s to upload as it is (WAV, 2.9 MB), 0.7 s compacted without loss "
        "(FLAC, 0.4 MB), 0.2 s in the mode for slow lines (Opus, 0.1 MB)."
    )
    assert "需 4.9 秒" in chinese[1]
    quick = netcheck.sentences(checked(940, 940), "en")[1]
    assert "under 0.1 s" in quick


@pytest.mark.parametrize(
    ("down", "up", "holds"),
    [(50, 50, True), (47.5, 47.5, True), (44, 50, False), (50, 44, False), (1000, 4.7, False)],
)
def test_both_directions_must_hold(down: float, up: float, holds: bool) -> None:
    assert checked(down, up).holds is holds


def test_the_hosts_upload_is_this_sides_download() -> None:
    terms = other(TERMS, min_up_mbit=50, min_down_mbit=5)
    assert checked(60, 6, terms).holds is True
    assert checked(6, 60, terms).holds is False


def other(terms: Terms, **more: float) -> Terms:
    return Terms(**{**terms.__dict__, **more})


def test_a_tier_that_asks_nothing_is_not_judged() -> None:
    terms = other(TERMS, min_up_mbit=0, min_down_mbit=0)
    assert checked(0.1, 0.1, terms).holds is None
    assert "no measured rate" in netcheck.sentences(checked(1, 1, terms), "en")[2]


@pytest.mark.parametrize("mbit", [0.05, 0.4, 1, 5, 50, 1000])
def test_a_check_of_any_line_is_bounded_and_right(
    mbit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock of its own: what is moved, how long it takes, and that the rate comes out."""
    now, moved = [0.0], [0]
    monkeypatch.setattr("cosyhost.netcheck.measure.time.monotonic", lambda: now[0])

    def transfer(size: int) -> Rate:
        seconds = size * 8 / 1e6 / mbit
        now[0] += seconds
        moved[0] += size
        return Rate(size, seconds)

    assert measure.rate_of(transfer, 4_000_000).mbit_s == pytest.approx(mbit)
    assert moved[0] <= measure.MOST_BYTES
    assert now[0] <= measure.MOST_S + 0.1


def test_both_languages_have_the_same_words() -> None:
    en, zh = report._WORDS["en"], report._WORDS["zh"]
    assert set(en) == set(zh)
    for key in en:
        assert set(re.findall(r"{(\w*)", en[key])) == set(re.findall(r"{(\w*)", zh[key])), key


def test_the_bounds_of_service_and_command_agree() -> None:
    assert measure.MOST_BYTES >= 2 * routes.DOWNLOAD_BYTES >= 4 * routes.UPLOAD_BYTES
