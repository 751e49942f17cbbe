"""The relay between Alertmanager and group bots, with real HTTP on both sides."""

from __future__ import annotations

import base64
import http.client
import json
import logging
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from cosyhost import cli, relay
from cosyhost.errors import RELAY_BOTS_INVALID, Problem

TOKEN = "d4f7a1token"
SECRET = "SEC0123456789abcdef"


def alert(name: str = "UplinkSaturated", status: str = "firing") -> dict[str, Any]:
    """One alert as Alertmanager sends it."""
    return {
        "status": status,
        "labels": {"alertname": name, "severity": "warning", "instance": "voice-lan"},
        "annotations": {
            "summary": "The line of voice-lan is full",
            "summary_zh": "voice-lan 的线路已占满",
            "runbook_url": "docs/runbook.md#uplinksaturated",
        },
        "startsAt": "2026-01-02T03:04:05Z",
    }


def told(*alerts: dict[str, Any], truncated: int = 0) -> dict[str, Any]:
    """A notification."""
    return {"version": "4", "alerts": list(alerts), "truncatedAlerts": truncated}


class Chat(ThreadingHTTPServer):
    """A chat's server: keeps what comes, answers as it is told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Chat)
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.status, self.answer = 200, b'{"errcode":0,"errmsg":"ok"}'

    @property
    def url(self) -> str:
        """The bot's address, token and all."""
        return f"http://127.0.0.1:{self.server_port}/robot/send?access_token={TOKEN}"


class _Chat(BaseHTTPRequestHandler):
    server: Chat

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[int]:
    """A server that serves; its port."""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


class Relay:
    """A running relay with one bot of each kind, and the chat behind them."""

    def __init__(self, chat: Chat, port: int) -> None:
        self.chat = chat
        self.port = port

    def post(self, path: str, body: bytes, **headers: str) -> int:
        """The status of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("POST", path, body, headers)
        status = connection.getresponse().status
        connection.close()
        return status

    def tell(self, number: int, notification: dict[str, Any]) -> int:
        """As Alertmanager does."""
        return self.post(f"/bots/{number}", json.dumps(notification).encode())


@pytest.fixture
def between() -> Iterator[Relay]:
    """Bot 0 is DingTalk's with a signature, bot 1 WeCom's, bot 2 one that nobody answers for."""
    with ExitStack() as stack:
        chat = Chat()
        stack.enter_context(running(chat))
        closed = ThreadingHTTPServer(("127.0.0.1", 0), _Chat)
        closed.server_close()
        nobody = f"http://127.0.0.1:{closed.server_port}/send?key={TOKEN}"
        bots = [
            {"kind": "dingtalk", "url": chat.url, "secret": SECRET},
            {"kind": "wecom", "url": chat.url},
            {"kind": "wecom", "url": nobody},
        ]
        server = relay.create("127.0.0.1", 0, relay.read_bots(json.dumps(bots)))
        yield Relay(chat, stack.enter_context(running(server)))


def test_dingtalk_gets_markdown_in_both_languages_and_a_signature(between: Relay) -> None:
    before_ms = time.time() * 1000
    assert between.tell(0, told(alert())) == 200
    ((path, sent),) = between.chat.got
    assert sent["msgtype"] == "markdown"
    assert "UplinkSaturated" in sent["markdown"]["title"]
    for words in (
        "voice-lan 的线路已占满", "The line of voice-lan is full", "2026-01-02T03:04:05Z",
        "docs/runbook.md#uplinksaturated", "告警 FIRING 1",
    ):  # fmt: skip
        assert words in sent["markdown"]["text"], words
    query = parse_qs(urlsplit(path).query)
    assert query["access_token"] == [TOKEN]
    assert before_ms - 1000 < int(query["timestamp"][0]) <= time.time() * 1000
    # Worked out by another program.
    text = f"{query['timestamp'][0]}\n{SECRET}".encode()
    command = ["openssl", "dgst", "-sha256", "-hmac", SECRET, "-binary"]
    digest = subprocess.run(command, input=text, capture_output=True, check=True).stdout
    assert query["sign"] == [base64.b64encode(digest).decode()]


def test_wecom_gets_its_own_markdown_of_at_most_4096_bytes(between: Relay) -> None:
    many = [alert(f"Alert{number}") for number in range(30)]
    assert between.tell(1, told(*many, truncated=5)) == 200
    ((path, sent),) = between.chat.got
    text = sent["markdown"]["content"]
    assert "sign=" not in path
    assert 2000 < len(text.encode()) <= 4096
    shown = text.count("🔴")
    assert f"另有 {35 - shown} 条 / {35 - shown} more" in text


def test_the_end_of_an_alert_is_told_as_such(between: Relay) -> None:
    assert between.tell(1, told(alert(status="resolved"))) == 200
    text = between.chat.got[0][1]["markdown"]["content"]
    assert "恢复 RESOLVED 1" in text
    assert "✅" in text


@pytest.mark.parametrize(
    ("status", "answer", "says"),
    [
        (200, b'{"errcode":310000,"errmsg":"sign not match"}', "errcode 310000: sign not match"),
        (200, b"<html>", "its answer is no JSON"),
        (200, b"[]", "errcode None"),
        (500, b"", "HTTP 500"),
        (302, b"", "HTTP 302"),
    ],
)
def test_what_a_bot_does_not_take_is_tried_again_and_says_why(
    between: Relay, caplog: pytest.LogCaptureFixture, status: int, answer: bytes, says: str
) -> None:
    between.chat.status, between.chat.answer = status, answer
    with caplog.at_level(logging.DEBUG):
        assert between.tell(0, told(alert())) == 502
    assert says in caplog.text
    assert TOKEN not in caplog.text
    assert SECRET not in caplog.text


def test_a_bot_that_cannot_be_reached_is_tried_again_without_naming_it(
    between: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        assert between.tell(2, told(alert())) == 502
    assert (
        "bot 2 (wecom) did not take a message: not reached: ConnectionRefusedError" in caplog.text
    )
    assert TOKEN not in caplog.text


def test_what_is_no_notification_is_refused(between: Relay) -> None:
    assert between.post("/bots/0", b"{") == 400
    assert between.post("/bots/0", b"[]") == 400
    assert between.post("/bots/0", b'{"alerts": [1]}') == 400
    assert between.post("/bots/0", b'{"alerts": 1}') == 400
    assert between.post("/bots/9", b"{}") == 404
    assert between.post("/elsewhere", b"{}") == 404
    assert between.post("/bots/0", b"", Content_Length="x") in (400, 411)
    too_long = {"Content-Length": str(relay.BODY_BYTES_MAX + 1)}
    assert between.post("/bots/0", b"", **too_long) == 413
    assert between.chat.got == []


@pytest.mark.parametrize(
    "text",
    [None, "{}", "[", '[{"kind": "fax", "url": "http://a"}]', '[{"kind": "wecom"}]',
     '[{"kind": "wecom", "url": "file:///etc/passwd"}]',
     '[{"kind": "wecom", "url": "http://a", "colour": "red"}]'],
)  # fmt: skip
def test_a_wrong_list_of_bots_is_refused(text: str | None) -> None:
    with pytest.raises(Problem) as refused:
        relay.read_bots(text)
    assert refused.value.kind is RELAY_BOTS_INVALID


def test_the_command_says_what_is_wrong_and_needs_no_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "relay_bots").write_text(json.dumps([{"kind": "wecom", "url": f"x{TOKEN}"}]))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert cli.main(["--config", str(tmp_path / "none.toml"), "relay"]) == 1
    said = capsys.readouterr().err
    assert "relay_bots_invalid" in said
    assert "群机器人列表无效" in said
    assert TOKEN not in said
