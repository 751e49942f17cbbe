"""A CA of the host's own: switched on, trusted, renewed, watched, audited, switched off again."""

from __future__ import annotations

import json
import socket
import ssl
import time
from typing import Any

import httpx
import pytest

from tests.e2e import voice
from tests.e2e.test_audit_finds import failed, report
from tests.e2e.test_monitoring import prometheus
from tests.e2e.tier import BUILD, Tier

TAGS = ("--tags", "tls,edge,probes,prometheus")
NAME = "voice.demo.lan"
CA = BUILD / "demo/ca.pem"
LEFT = ("/etc/cosyhost/tls", "/opt/cosyhost/tls", "/var/lib/cosyhost-tls/public")


@pytest.fixture(scope="module")
def secure(demo: Tier) -> Tier:
    """The demo's host with TLS; the last test takes it away."""
    values = {
        "tls_source": "internal_ca",
        "tls_names": [str(demo.host.ip), NAME],
        "tls_ca_file": str(CA),
    }
    inventory = BUILD / "demo/tls/hosts.yml"
    inventory.parent.mkdir(exist_ok=True)
    inventory.write_text(json.dumps({"all": {"hosts": {demo.host.name: values}}}), encoding="utf-8")
    CA.unlink(missing_ok=True)
    return Tier("demo", demo.host, [*demo.inventories, inventory], demo.control,
                f"https://{demo.host.ip}")  # fmt: skip


def context() -> ssl.SSLContext:
    """Trusts the CA that was brought here, and nobody else."""
    return ssl.create_default_context(cafile=CA)


def shown(tier: Tier, name: str) -> dict[str, Any]:
    """The certificate the door shows to whoever asks for the name, if that is trusted."""
    with (
        socket.create_connection((str(tier.host.ip), 443), timeout=10) as line,
        context().wrap_socket(line, server_hostname=name) as talk,
    ):
        return dict(talk.getpeercert() or {})


def test_it_is_switched_on_and_a_second_run_changes_nothing(secure: Tier) -> None:
    run = secure.provision(*TAGS)
    assert run.recap(secure.host.name)["changed"] > 0
    assert f"http://{secure.host.ip}/ca" in run.said
    assert CA.read_text(encoding="ascii").startswith("-----BEGIN CERTIFICATE-----")
    assert secure.provision(*TAGS).recap(secure.host.name)["changed"] == 0
    keys = secure.host.run(
        "stat", "-c", "%a %U", "/etc/cosyhost/tls/key.pem", "/var/lib/cosyhost-tls/ca.key"
    )
    assert keys.stdout.splitlines() == ["600 root", "600 root"]


def test_whoever_trusts_the_ca_is_served(secure: Tier, prompt: bytes) -> None:
    for name in (str(secure.host.ip), NAME):
        assert shown(secure, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        shown(secure, "another.lan")
    with httpx.Client(base_url=secure.url, timeout=120, verify=context()) as client:
        assert "CosyHost" in client.get("/").text
        spoken = voice.speak(client, prompt)
    assert voice.plausible(voice.seconds(spoken.content), len(voice.TEXT))


def test_plain_http_says_how_to_trust_it_and_leads_to_tls(secure: Tier) -> None:
    with httpx.Client(base_url=f"http://{secure.host.ip}", timeout=30) as client:
        away = client.get("/docs?x=1")
        assert (away.status_code, away.headers["Location"]) == (307, f"{secure.url}/docs?x=1")
        page = client.get("/ca").text
        assert client.get("/ca.crt").content == CA.read_bytes()
    printed = secure.host.run(
        "openssl", "x509", "-in", "/etc/cosyhost/tls/ca.pem", "-noout", "-fingerprint", "-sha256"
    )
    assert printed.stdout.strip().partition("=")[2] in page
    assert "信任本服务" in page


def test_what_is_near_its_end_is_renewed_by_the_clock(secure: Tier) -> None:
    old = (
        "import certificate as c; c.DAYS = c.RENEW_DAYS - 1; "
        f"c.Front(c.PLACE).make(c.Authority(c.STATE), ['{secure.host.ip}', '{NAME}'])"
    )
    secure.host.run(
        "sh", "-ec", f'cd /opt/cosyhost/tls; python3 -B -c "{old}"; systemctl reload nginx'
    )
    before = _until_another(secure, shown(secure, NAME)["serialNumber"], patience=20)
    secure.host.run("systemctl", "start", "cosyhost-tls.service")
    after = _until_another(secure, before["serialNumber"], patience=60)
    ends = [ssl.cert_time_to_seconds(one["notAfter"]) for one in (before, after)]
    assert ends[1] - ends[0] > 30 * 86400
    # Not due any more: left out, and not failed.
    secure.host.run("systemctl", "start", "cosyhost-tls.service", check=False)
    assert shown(secure, NAME)["serialNumber"] == after["serialNumber"]
    asked = ("systemctl", "is-failed", "cosyhost-tls.service")
    assert secure.host.run(*asked, check=False).stdout.strip() == "inactive"
    timer = secure.host.run("systemctl", "is-active", "cosyhost-tls.timer")
    assert timer.stdout.strip() == "active"


def test_prometheus_sees_when_it_ends(secure: Tier) -> None:
    ends = ssl.cert_time_to_seconds(shown(secure, NAME)["notAfter"])
    seen: dict[str, float] = {}
    for _ in range(120):  # the door is asked every 30 s, and had another certificate a moment ago
        found = prometheus(secure, "query?query=probe_ssl_earliest_cert_expiry")["result"]
        seen = {one["metric"]["instance"]: float(one["value"][1]) for one in found}
        if len(seen) == 2 and all(abs(when - ends) < 60 for when in seen.values()):
            break
        time.sleep(1)
    assert set(seen) == {"https://127.0.0.1:443/", "https://127.0.0.1:443/readyz"}
    assert all(abs(when - ends) < 60 for when in seen.values()), (ends, seen)
    up = prometheus(secure, "query?query=probe_success")["result"]
    assert {one["value"][1] for one in up if "443" in one["metric"]["instance"]} == {"1"}


def test_the_audit_passes_and_names_a_certificate_of_nobodys(secure: Tier) -> None:
    run = secure.audit("-k", "test_tls or test_edge or test_network")
    assert run.rc == 0, run.tail
    rows = ("TLS-CERTIFICATE", "TLS-OLD", "TLS-REDIRECT", "TLS-HSTS", "LINK-UPLINK")
    passed = {row["id"] for row in report(secure)["rows"] if row["result"] == "pass"}
    assert set(rows) <= passed, run.tail
    spoil = (
        "cd /etc/cosyhost/tls; openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem "
        "-out certificate.pem -days 9 -subj /CN=x 2>/dev/null; systemctl reload nginx; sleep 2"
    )
    secure.host.run("sh", "-ec", spoil)
    assert "TLS-CERTIFICATE" in failed(secure.audit("-k", "test_tls"))
    assert secure.provision(*TAGS).recap(secure.host.name)["changed"] > 0
    assert shown(secure, NAME)


def test_it_is_switched_off_and_the_ca_is_kept(secure: Tier, demo: Tier) -> None:
    demo.provision(*TAGS)
    with demo.client() as client:
        assert client.get("/readyz").status_code == 200
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((str(demo.host.ip), 443), timeout=10)
    there = demo.host.run("sh", "-c", f"ls -d {' '.join(LEFT)} 2>/dev/null || true").stdout
    assert there == ""
    kept = demo.host.run("ls", "/var/lib/cosyhost-tls").stdout.split()
    assert kept == ["ca.key", "ca.pem"]
    asked = ("systemctl", "list-unit-files", "--no-legend", "cosyhost-tls*")
    assert demo.host.run(*asked, check=False).stdout == ""
    assert demo.provision(*TAGS).recap(demo.host.name)["changed"] == 0


def _until_another(tier: Tier, serial: str, patience: int) -> dict[str, Any]:
    """The certificate once it is another one; a reload takes a moment."""
    for _ in range(patience * 10):
        found = shown(tier, NAME)
        if found["serialNumber"] != serial:
            return found
        time.sleep(0.1)
    raise AssertionError("the door still shows the old certificate")
