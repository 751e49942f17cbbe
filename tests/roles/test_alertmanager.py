"""Who is told of what: the rendered configuration in a real Alertmanager, with a real webhook."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.debs import command, program
from tests.roles.conftest import ROOT, ansible
from tests.roles.test_door import free_port

ROLE = ROOT / "roles/alertmanager"
SOMEBODY = {
    "alertmanager_webhooks": ["http://127.0.0.1:9/a?b='c'&d=\"e\""],
    "alertmanager_email": {
        "to": "ops@example.com", "from": "voice@example.com", "smarthost": "mail.example.com:587",
        "username": "voice", "password": 'p"a: {{ss}} #1',
    },
    "alertmanager_bots": [{"kind": "dingtalk", "url": "https://bot.example.com/x?access_token=t0k"}],
}  # fmt: skip


def rendered(folder: Path, values: dict[str, Any]) -> Path:
    """The configuration for receivers."""
    told = folder / "values.json"
    told.write_text(json.dumps(values), encoding="utf-8")
    files = [ROLE / "defaults/main.yml", ROLE / "vars/main.yml", told]
    run = ansible(
        "ansible", "localhost", "-i", "localhost,", "-c", "local",
        *(part for file in files for part in ("-e", f"@{file}")),
        "-m", "ansible.builtin.template",
        "-a", f"src={ROLE}/templates/alertmanager.yml.j2 dest={folder}/alertmanager.yml mode=0600",
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return folder / "alertmanager.yml"


class Webhook(ThreadingHTTPServer):
    """Notes the alerts that it is told of."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.told: set[tuple[str, str]] = set()
        self.url = f"http://127.0.0.1:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.told |= {key(alert["labels"]) for alert in document["alerts"]}
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def key(labels: dict[str, str]) -> tuple[str, str]:
    """An alert's name, and where."""
    return labels["alertname"], labels.get("instance") or labels.get("tier", "")


@contextmanager
def alertmanager(config: Path) -> Iterator[str]:
    """A running Alertmanager; its address."""
    listen = f"127.0.0.1:{free_port()}"
    log = config.with_name("log")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command("prometheus-alertmanager", "prometheus-alertmanager"),
             f"--config.file={config}", f"--storage.path={config.parent}/data",
             "--cluster.listen-address=", f"--web.listen-address={listen}"],
            stdout=out, stderr=out,
        )  # fmt: skip
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://{listen}/-/ready", timeout=2).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
        yield f"http://{listen}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("values", [{}, SOMEBODY], ids=["nobody", "everybody"])
def test_amtool_takes_the_configuration(tmp_path: Path, values: dict[str, Any]) -> None:
    config = rendered(tmp_path, values)
    amtool = str(program("prometheus-alertmanager", "amtool"))
    check = [amtool, "check-config", str(config)]
    ran = subprocess.run(check, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    text = config.read_text(encoding="utf-8")
    assert "t0k" not in text  # the bot's address is the relay's to know
    assert ("http://127.0.0.1:7862/bots/0" in text) == bool(values)
    route = [amtool, "config", "routes", "test"]
    for labels, wanted in (("alertname=QueueFull", "operators"), ("alertname=Watchdog", "nobody")):
        asked = [*route, f"--config.file={config}", labels]
        said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        assert said == (wanted if values else "nobody")


MISTAKES: dict[str, tuple[str, dict[str, Any], str]] = {
    "a webhook without http": (
        "alertmanager",
        {"alertmanager_webhooks": ["ops.example.com"]},
        "COSY-ALERTMANAGER-RECEIVERS",
    ),
    "a bot without an address": (
        "alertmanager",
        {"alertmanager_bots": [{"kind": "wecom"}]},
        "COSY-ALERTMANAGER-RECEIVERS",
    ),
    "mail without a sender": (
        "alertmanager",
        {"alertmanager_email": {"to": "a@example.com", "smarthost": "mail:25"}},
        "COSY-ALERTMANAGER-RECEIVERS",
    ),
    "a job nobody knows": (
        "prometheus",
        {"prometheus_targets": {"nodes": {"a": "127.0.0.1:9100"}}},
        "COSY-PROMETHEUS-VALUES",
    ),
    "a target without a port": (
        "prometheus",
        {"prometheus_targets": {"node": {"a": "127.0.0.1"}}},
        "COSY-PROMETHEUS-VALUES",
    ),
    "no rules": ("prometheus", {"prometheus_rules": "/nowhere"}, "COSY-PROMETHEUS-NO-RULES"),
    "a probe's address with a port": (
        "probes",
        {"probes_listen": "127.0.0.1/9"},
        "COSY-PROBES-VALUES",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_value_is_refused_with_its_cure(mistake: str) -> None:
    role, values, code = MISTAKES[mistake]
    on = {
        "prometheus_rules": str(ROOT / "files/prometheus/rules"),
        **{f"{name}_enabled": True for name in ("alertmanager", "prometheus", "probes_node")},
    }
    run = ansible(
        "ansible", "localhost", "-i", "localhost,", "-c", "local",
        "-m", "ansible.builtin.include_role", "-a", f"name={role} tasks_from=preflight",
        "-e", json.dumps(on | values),
    )  # fmt: skip
    assert run.returncode != 0
    assert f"[{code}]" in run.stdout, run.stdout


def test_causes_are_told_and_their_consequences_are_not(tmp_path: Path) -> None:
    webhook = Webhook()
    threading.Thread(target=webhook.serve_forever, daemon=True).start()
    told = [
        {"alertname": "Watchdog"},
        {"alertname": "TargetDown", "scope": "host", "instance": "gone", "tier": "t"},
        {"alertname": "TargetDown", "scope": "target", "instance": "gone", "job": "redis"},
        {"alertname": "DiskNearlyFull", "instance": "gone", "tier": "t"},
        {"alertname": "TargetDown", "scope": "target", "instance": "well", "job": "redis"},
        {"alertname": "DiskNearlyFull", "instance": "well", "tier": "t"},
        {"alertname": "UplinkSaturated", "instance": "well", "tier": "t"},
        {"alertname": "UploadSlow", "tier": "t"},
        {"alertname": "UploadSlow", "tier": "other"},
        {"alertname": "QueueWaitLong", "tier": "t"},
    ]
    wanted = {
        ("TargetDown", "gone"),
        ("TargetDown", "well"),
        ("DiskNearlyFull", "well"),
        ("UplinkSaturated", "well"),
        ("UploadSlow", "other"),
        ("QueueWaitLong", "t"),
    }
    config = rendered(tmp_path, {"alertmanager_webhooks": [webhook.url]})
    with alertmanager(config) as url:
        body = json.dumps([{"labels": labels} for labels in told]).encode()
        request = urllib.request.Request(
            f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=10).close()
        deadline = time.monotonic() + 20
        while not wanted <= webhook.told and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)  # what should not come would have come with them
        with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=10) as answer:
            alerts = json.loads(answer.read())
    webhook.shutdown()
    webhook.server_close()
    assert webhook.told == wanted
    silenced = {key(one["labels"]) for one in alerts if one["status"]["inhibitedBy"]}
    assert silenced == {("TargetDown", "gone"), ("DiskNearlyFull", "gone"), ("UploadSlow", "t")}
