"""From a link going bad to somebody's webhook: real scrapes, rules, Prometheus and Alertmanager.

The rule that is tried waits 10 minutes before it fires, which no test run can. So the test gives
site.yml a copy of the rules in which that one `for` is shorter, by the setting that operators have
for rules of their own (`prometheus_rules`); expression, windows, scrape and evaluation intervals
and Alertmanager's routes are the real ones.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.tier import ROOT, Tier
from tests.testbed import Testbed

RULES = ROOT / "files/prometheus/rules"
TOKEN = "t0ken0fthegroup"
LINE_MBIT = 5
FOR_S = 20
WITHIN_S = FOR_S + 30
TAGS = ("--tags", "exporter,alertmanager,prometheus")


class Operators(ThreadingHTTPServer):
    """Those who are told: a webhook and a group's bot, which note what came and when."""

    def __init__(self, address: str) -> None:
        super().__init__((address, 0), _Webhook)
        self.url = f"http://{address}:{self.server_port}/alerts"
        self.bot_url = f"http://{address}:{self.server_port}/bot?key={TOKEN}"
        self.told: list[tuple[float, dict[str, Any]]] = []
        self.chat: list[str] = []

    def wait_for(self, name: str, seconds: float) -> tuple[float, dict[str, Any]]:
        """When an alert of this name came first, and the alert."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for at, alert in list(self.told):
                if alert["labels"]["alertname"] == name and alert["status"] == "firing":
                    return at, alert
            time.sleep(0.2)
        said = [alert["labels"] for _, alert in self.told]
        pytest.fail(f"{name} did not come within {seconds:.0f} s; what came: {said}")


class _Webhook(BaseHTTPRequestHandler):
    server: Operators

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = b'{"errcode": 0, "errmsg": "ok"}'
        if self.path.startswith("/bot"):
            self.server.chat.append(document["markdown"]["content"])
        else:
            now = time.monotonic()
            self.server.told += [(now, alert) for alert in document["alerts"]]
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def operators(bed: Testbed, lan: Tier) -> Iterator[Operators]:
    """A webhook on this machine, which hosts reach at the bridge's address."""
    server = Operators(str(bed.settings.gateway))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def prometheus(tier: Tier, path: str) -> Any:
    """The data of one of Prometheus' answers, asked on its host."""
    url = f"http://127.0.0.1:9090/api/v1/{path}"
    script = f"import urllib.request as r; print(r.urlopen({url!r}).read().decode())"
    return json.loads(tier.host.run("python3", "-c", script).stdout)["data"]


@contextmanager
def traffic(tier: Tier) -> Iterator[None]:
    """All that the host's line carries, from the host to here."""
    command = tier.host.ssh_command("cat", "/dev/zero")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as transfer:
        try:
            yield
            assert transfer.poll() is None, "the transfer broke off"
        finally:
            transfer.kill()


def test_every_target_is_up(lan: Tier) -> None:
    targets: list[dict[str, Any]] = []
    for _ in range(60):  # the front door is asked every 30 s
        targets = prometheus(lan, "targets?state=active")["activeTargets"]
        if targets and all(target["health"] == "up" for target in targets):
            break
        time.sleep(1)
    down = [f"{t['labels']['job']}: {t['lastError']}" for t in targets if t["health"] != "up"]
    assert down == []
    assert {target["labels"]["job"] for target in targets} == {
        "cosyhost", "web", "node", "nginx", "redis", "blackbox", "prometheus", "alertmanager",
    }  # fmt: skip


def test_nobody_is_told_unless_somebody_is_named(lan: Tier) -> None:
    run = lan.runs.get("fresh") or lan.play("preflight")
    assert "are shown and sent to nobody" in run.said
    assert "不会通知任何人" in run.said


def test_a_port_of_somebody_else_is_refused_by_name(lan: Tier) -> None:
    run = lan.play("preflight", "-e", "prometheus_listen=127.0.0.1:6380")
    assert run.rc != 0
    assert "[COSY-PROMETHEUS-PORT]" in run.said
    assert "redis-server" in run.said


def test_a_rule_with_a_typo_leaves_the_old_ones_serving(lan: Tier, tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    shutil.copytree(RULES, folder)
    text = (folder / "network.yml").read_text(encoding="utf-8")
    (folder / "network.yml").write_text(text.replace("> 0.9 or", "> 0.9 orr", 1))
    before = prometheus(lan, "rules")["groups"]
    run = lan.play("site", *TAGS, "-e", json.dumps({"prometheus_rules": str(folder)}))
    assert run.rc != 0
    assert "[COSY-PROMETHEUS-RULES]" in run.said
    assert "UplinkSaturated" in run.said
    after = prometheus(lan, "rules")["groups"]
    assert [group["name"] for group in after] == [group["name"] for group in before]


def test_a_full_line_reaches_a_webhook(
    bed: Testbed, lan: Tier, operators: Operators, tmp_path: Path
) -> None:
    folder = tmp_path / "rules"
    shutil.copytree(RULES, folder)
    (folder / "storage.yml").unlink()  # and what is taken out leaves the host
    text = (folder / "network.yml").read_text(encoding="utf-8")
    alert = r"(- alert: UplinkSaturated\n.*\n        for: )10m\n"
    text, found = re.subn(alert, rf"\g<1>{FOR_S}s\n", text)
    assert found == 1
    (folder / "network.yml").write_text(text, encoding="utf-8")
    values = {
        "prometheus_rules": str(folder),
        "alertmanager_webhooks": [operators.url],
        "alertmanager_bots": [{"kind": "wecom", "url": operators.bot_url}],
        "exporter_uplink_up_mbit": LINE_MBIT,
        "exporter_uplink_down_mbit": LINE_MBIT,
    }
    run = lan.play("site", *TAGS, "-e", json.dumps(values))
    assert run.rc == 0, run.tail
    assert TOKEN not in run.output
    names = {group["name"] for group in prometheus(lan, "rules")["groups"]}
    assert "network" in names
    assert "storage" not in names
    try:
        lan.host.shape(f"{LINE_MBIT}mbit")
        with traffic(lan):
            began = time.monotonic()
            at, alert_told = operators.wait_for("UplinkSaturated", WITHIN_S + 30)
    finally:
        lan.host.shape(None)
    # Aimed at: `for` + 30 s.
    print(f"told after {at - began:.1f} s, with a `for` of {FOR_S} s")
    assert at - began >= FOR_S
    assert alert_told["labels"]["instance"] == lan.host.name
    assert alert_told["labels"]["direction"] == "transmit"
    assert alert_told["labels"]["tier"] == "lan"
    assert "线路已占满" in alert_told["annotations"]["summary_zh"]
    assert alert_told["annotations"]["runbook_url"] == "docs/runbook.md#uplinksaturated"
    for _ in range(50):
        if operators.chat:
            break
        time.sleep(0.2)
    assert any("UplinkSaturated" in text and "线路已占满" in text for text in operators.chat)
    assert TOKEN not in lan.host.run("journalctl", "--namespace=*", "--no-pager").stdout


def test_the_next_run_puts_everything_back(lan: Tier) -> None:
    run = lan.provision(*TAGS)
    assert run.recap(lan.host.name)["changed"] > 0
    names = {group["name"] for group in prometheus(lan, "rules")["groups"]}
    assert "storage" in names
    relay = ("systemctl", "is-active", "cosyhost-relay")
    assert lan.host.run(*relay, check=False).stdout.strip() == "inactive"
    assert lan.provision(*TAGS).recap(lan.host.name)["changed"] == 0
