"""What lies between a browser and the front door: certificate, protocols, and the way to them."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest
from testinfra.host import Host

from tests.audit.probe import CA, GREET, REFUSED, Probe, split_address

pytestmark = pytest.mark.group("edge")
# The alert CertificateExpiring comes at the same moment.
DAYS_LEFT = 14


@pytest.fixture
def at(values: dict[str, Any]) -> tuple[str, int]:
    """Where the door speaks TLS, asked on the host itself; skips where it does not."""
    if not values["edge_tls_listen"]:
        pytest.skip("tls_source is none: this tier serves plain http")
    address, port = split_address(str(values["edge_tls_listen"][0]))
    return {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(address, address), port


@pytest.mark.control(
    "TLS-CERTIFICATE",
    "transport",
    why="browsers refuse a certificate that has ended, or is another name's",
    zh="证书过期或名称不符，浏览器会拒绝打开",
)
def test_the_certificate_is_for_every_name_and_lasts(
    host: Host, values: dict[str, Any], at: tuple[str, int]
) -> None:
    ask = f"openssl s_client -connect {at[0]}:{at[1]} -verify_return_error </dev/null"
    trust = f"-CAfile {CA}" if values["tls_ca_file"] else ""
    for name in values["tls_names"]:
        kind = "ip" if re.fullmatch(r"[0-9.]+|.*:.*", name) else "hostname"
        ran = host.run(f"{ask} {trust} -servername {name} -verify_{kind} {name}")
        wrong = re.findall(r"(?m)^verify error:(.*)$", ran.stderr + ran.stdout)
        assert ran.rc == 0, f"{name}: {'; '.join(wrong) or ran.stderr.strip()[-300:]}"
    ends = host.run(f"{ask} {trust} -servername {name} 2>/dev/null | openssl x509 -noout -enddate")
    when = datetime.datetime.strptime(ends.stdout.strip(), "notAfter=%b %d %H:%M:%S %Y %Z")
    left = (when - datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)).days
    assert left >= DAYS_LEFT, f"it ends in {left} days, on {when:%Y-%m-%d}"


@pytest.mark.control(
    "TLS-OLD",
    "transport",
    why="TLS 1.0 and 1.1 can be broken by whoever sits on the line",
    zh="TLS 1.0 与 1.1 可被线路上的人破解",
)
def test_old_protocols_are_refused(host: Host, at: tuple[str, int]) -> None:
    for version, named in ((1, "TLS 1.0"), (2, "TLS 1.1")):
        told = (GREET, at[0].strip("[]"), str(at[1]), str(version))
        said = host.check_output("python3 -c %s %s %s %s", *told)
        assert REFUSED.fullmatch(said), f"{named} is answered with {said or 'nothing'}"


@pytest.mark.control(
    "TLS-REDIRECT",
    "transport",
    why="who types the name alone comes over plain http",
    zh="只输入域名的人会先走明文 http",
)
@pytest.mark.usefixtures("at")
def test_plain_http_leads_to_tls(host: Host, values: dict[str, Any]) -> None:
    plain = Probe.through(host, values, plain=True)
    for path in ("/", "/v1/models", "/metrics"):
        answer = plain.ask(path)
        to = answer.headers.get("location", "")
        assert answer.status == 307, f"{path} {answer.brief}"
        assert to.startswith("https://"), f"{path} leads to {to or 'nowhere'}"


@pytest.mark.control(
    "TLS-HSTS",
    "transport",
    why="a browser that was told comes back over TLS only",
    zh="收到该声明的浏览器以后只用 TLS 访问",
)
@pytest.mark.usefixtures("at")
def test_browsers_are_told_what_the_tier_says(door: Probe, values: dict[str, Any]) -> None:
    wanted = int(values["tls_hsts_s"])
    said = door.ask("/readyz").headers.get("strict-transport-security", "")
    assert said == (f"max-age={wanted}" if wanted else ""), f"it says {said or 'nothing'}"
