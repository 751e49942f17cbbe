"""Alerts for group bots: Alertmanager's JSON in, DingTalk's and WeCom's JSON out.

Each bot has a path of its own, so that Alertmanager tries again for the one that took nothing and
not for the others. A bot's address holds its token: it comes as a credential and is never logged.

Sources: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config (the body that
comes in), https://open.dingtalk.com/document/robots/custom-robot-access (markdown message,
signature, `errcode`), https://developer.work.weixin.qq.com/document/path/91770 (markdown message
of at most 4096 bytes, `errcode`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import logging
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cosyhost.errors import RELAY_BOTS_INVALID, Problem
from cosyhost.systemd import credential, notify

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 1 << 20
_TIMEOUT_S = 10
# What a bot takes, in bytes of UTF-8; the rest of a long message is cut off between two alerts.
_MESSAGE_BYTES = {"dingtalk": 20_000, "wecom": 4_096}


@dataclass(frozen=True)
class Bot:
    """One group's bot: `dingtalk` or `wecom`, its address, and DingTalk's secret if it signs."""

    kind: str
    url: str
    secret: str = ""


class DeliveryError(Exception):
    """A bot did not take a message; says why, without its address."""


def read_bots(text: str | None) -> list[Bot]:
    """The bots of a credential: a JSON list of objects with `kind`, `url` and maybe `secret`.

    Raises:
        Problem: RELAY_BOTS_INVALID, naming the entry and not what is in it.
    """
    try:
        listed = json.loads(text or "null")
    except ValueError:
        listed = None
    if not isinstance(listed, list):
        raise Problem(RELAY_BOTS_INVALID, reason="no JSON list")
    bots = []
    for number, entry in enumerate(listed):
        try:
            bot = Bot(**entry)
            known = bot.kind in _MESSAGE_BYTES
            if not known or not str(bot.url).startswith(("http://", "https://")):
                raise ValueError
        except (TypeError, ValueError):
            reason = f"entry {number} needs a kind (dingtalk, wecom) and a url"
            raise Problem(RELAY_BOTS_INVALID, reason=reason) from None
        bots.append(bot)
    return bots


def signed(url: str, secret: str, now_ms: int) -> str:
    """DingTalk's signed address: HMAC-SHA256 of "timestamp\\nsecret" with the secret as its key.

    `now_ms` is the time in milliseconds; DingTalk takes it for an hour.
    """
    if not secret:
        return url
    text = f"{now_ms}\n{secret}".encode()
    digest = hmac.new(secret.encode(), text, hashlib.sha256).digest()
    query = urllib.parse.urlencode({"timestamp": now_ms, "sign": base64.b64encode(digest).decode()})
    return f"{url}{'&' if '?' in url else '?'}{query}"


def message(bot: Bot, told: dict[str, Any]) -> dict[str, Any]:
    """What a bot is sent for one of Alertmanager's notifications.

    Raises:
        ValueError: it is no notification (version 4).
    """
    alerts = told.get("alerts")
    if not isinstance(alerts, list) or not all(isinstance(alert, dict) for alert in alerts):
        raise ValueError("no list of alerts")
    firing = [alert for alert in alerts if alert.get("status") != "resolved"]
    names = dict.fromkeys(_text(alert, "labels", "alertname") for alert in alerts)
    state = f"告警 FIRING {len(firing)}" if firing else f"恢复 RESOLVED {len(alerts)}"
    title = f"{state} · {', '.join(names)}"[:120]
    parts = [f"### {title}", *(_described(alert) for alert in alerts)]
    more = int(told.get("truncatedAlerts") or 0)
    text = _cut(parts, more, _MESSAGE_BYTES[bot.kind])
    if bot.kind == "dingtalk":
        return {"msgtype": "markdown", "markdown": {"title": title, "text": text}}
    return {"msgtype": "markdown", "markdown": {"content": text}}


def deliver(bot: Bot, told: dict[str, Any]) -> None:
    """Send one notification.

    Raises:
        ValueError: it is no notification.
        DeliveryError: the bot did not take it; both kinds say so with 200 and an `errcode`.
    """
    body = json.dumps(message(bot, told), ensure_ascii=False).encode()
    address = signed(bot.url, bot.secret, time.time_ns() // 1_000_000)
    request = urllib.request.Request(
        address, body, {"Content-Type": "application/json; charset=utf-8"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            said = json.loads(answer.read(65_536))
    except urllib.error.HTTPError as error:
        raise DeliveryError(f"HTTP {error.code}") from None
    except urllib.error.URLError as error:
        raise DeliveryError(f"not reached: {type(error.reason).__name__}") from None
    except (OSError, http.client.HTTPException) as error:
        raise DeliveryError(f"broke off: {type(error).__name__}") from None
    except ValueError:
        raise DeliveryError("its answer is no JSON") from None
    if not isinstance(said, dict) or said.get("errcode") != 0:
        code = said.get("errcode") if isinstance(said, dict) else None
        raise DeliveryError(f"errcode {code}: {_named(said)}")


def _named(said: Any) -> str:
    """The bot's own words, without anything that looks like an address."""
    words = str(said.get("errmsg", "")) if isinstance(said, dict) else ""
    return " ".join(word for word in words.split() if "://" not in word)[:200]


def _described(alert: dict[str, Any]) -> str:
    """One alert in both languages."""
    mark = "✅" if alert.get("status") == "resolved" else "🔴"
    where = _text(alert, "labels", "instance") or _text(alert, "labels", "tier")
    severity = _text(alert, "labels", "severity")
    lines = [
        f"{mark} **{_text(alert, 'labels', 'alertname')}** ({severity})",
        _text(alert, "annotations", "summary_zh"),
        _text(alert, "annotations", "summary"),
        f"主机 host: {where}" if where else "",
        f"开始 since: {alert.get('startsAt', '')}",
        f"手册 runbook: {_text(alert, 'annotations', 'runbook_url')}",
    ]
    return "\n\n".join(line for line in lines if line)


def _text(alert: dict[str, Any], part: str, name: str) -> str:
    labels = alert.get(part)
    return str(labels.get(name, "")) if isinstance(labels, dict) else ""


def _cut(parts: list[str], more: int, limit_bytes: int) -> str:
    """As many parts as fit, and how many alerts did not."""
    for kept in range(len(parts), 0, -1):
        left = len(parts) - kept + more
        tail = [f"…… 另有 {left} 条 / {left} more"] if left else []
        text = "\n\n---\n\n".join(parts[:kept] + tail)
        if len(text.encode()) <= limit_bytes:
            return text
    return parts[0].encode()[:limit_bytes].decode(errors="ignore")


class _Handler(BaseHTTPRequestHandler):
    """`POST /bots/N` for the bot N of the credential; `GET /healthz`."""

    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/healthz" else 404)

    def do_POST(self) -> None:
        number = self.path.removeprefix("/bots/")
        length = self.headers.get("Content-Length", "")
        if not (self.path.startswith("/bots/") and number.isdecimal()):
            return self._refuse(404)
        if int(number) >= len(self.server.bots):
            return self._refuse(404)
        if not length.isdecimal():
            return self._refuse(411)
        if int(length) > BODY_BYTES_MAX:
            return self._refuse(413)
        bot = self.server.bots[int(number)]
        body = self.rfile.read(int(length))
        try:
            told = json.loads(body)
            if not isinstance(told, dict):
                raise ValueError("no object")
            deliver(bot, told)
        except ValueError as error:
            log.warning("bot %s: what came is no notification: %s", number, error)
            return self._answer(400)
        except DeliveryError as error:
            log.warning("bot %s (%s) did not take a message: %s", number, bot.kind, error)
            return self._answer(502)  # Alertmanager tries again
        return self._answer(200)

    def _refuse(self, status: int) -> None:
        """Answer without having read the body: the connection is of no more use."""
        self.close_connection = True
        self._answer(status)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Requests are not logged; what went wrong is."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], bots: list[Bot]) -> None:
        super().__init__(address, _Handler)
        self.bots = bots


def create(host: str, port: int, bots: list[Bot]) -> ThreadingHTTPServer:
    """A server that listens and does not serve yet; port 0 takes a free one."""
    return _Server((host, port), bots)


def serve(host: str, port: int) -> None:
    """Relay until told to stop, for the bots of the credential `relay_bots`.

    Raises:
        Problem: RELAY_BOTS_INVALID.
        OSError: the address cannot be listened at.
    """
    bots = read_bots(credential("relay_bots"))
    with create(host, port, bots) as server:
        notify("READY=1")
        server.serve_forever()
