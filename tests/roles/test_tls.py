"""The front door's certificate: made, renewed, judged, and shown by a real nginx."""

from __future__ import annotations

import datetime
import importlib.util
import json
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.audit.probe import GREET, REFUSED
from tests.roles.conftest import ROOT, ansible
from tests.roles.test_door import Door, door, free_port

PROGRAM = ROOT / "roles/tls/files/certificate.py"
NAMES = ("voice.lan", "10.1.2.3")
NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


def load_module(path: str) -> ModuleType:
    """A role's module, which is in no package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / "roles/tls" / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


certificate: Any = load_module("files/certificate.py")
faults: Any = load_module("filter_plugins/tls_faults.py")


# The CA of the host's own


@dataclass
class Made:
    """A CA and its certificate, in folders of their own."""

    state: Path
    place: Path

    def run(self, command: str, *names: str) -> subprocess.CompletedProcess[str]:
        """The program as role and timer run it."""
        folders = ("--state", self.state, "--place", self.place)
        return subprocess.run(
            [sys.executable, PROGRAM, command, *names, *folders],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def issue(self, *names: str) -> dict[str, Any]:
        """What it says it made."""
        ran = self.run("issue", *names)
        assert ran.returncode == 0, ran.stderr
        said: dict[str, Any] = json.loads(ran.stdout)
        return said

    def load(self, path: Path) -> x509.Certificate:
        """A certificate."""
        return x509.load_pem_x509_certificate(path.read_bytes())

    @property
    def own(self) -> x509.Certificate:
        """What nginx shows."""
        return self.load(self.place / "certificate.pem")

    @property
    def ca(self) -> x509.Certificate:
        """Who vouches for it."""
        return self.load(self.state / "ca.pem")


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Empty folders."""
    for name in ("state", "place"):
        (tmp_path / name).mkdir()
    return Made(tmp_path / "state", tmp_path / "place")


def test_the_first_run_makes_a_ca_and_a_certificate_and_the_second_nothing(made: Made) -> None:
    assert made.run("due", *NAMES).returncode == 0
    said = made.issue(*NAMES)
    assert said["made"] == ["ca", "certificate"]
    assert said["fingerprint"] == made.ca.fingerprint(hashes.SHA256()).hex(":").upper()
    assert made.run("due", *NAMES).returncode == 1
    before = made.own
    assert made.issue(*NAMES)["made"] == []
    assert made.own == before
    for key in (made.state / "ca.key", made.place / "key.pem"):
        assert key.stat().st_mode & 0o777 == 0o600, key
    assert (made.place / "ca.pem").read_bytes() == (made.state / "ca.pem").read_bytes()


def test_the_certificate_is_as_browsers_want_it(made: Made) -> None:
    made.issue(*NAMES)
    own, ca = made.own, made.ca
    own.verify_directly_issued_by(ca)
    names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["voice.lan"]
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("10.1.2.3")]
    assert own.not_valid_after_utc - own.not_valid_before_utc <= 398 * DAY
    assert own.serial_number.bit_length() > 64
    usage = own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    basics = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basics.critical
    assert basics.value == x509.BasicConstraints(ca=True, path_length=0)
    bounds = ca.extensions.get_extension_for_class(x509.NameConstraints)
    assert bounds.critical
    assert x509.DNSName("voice.lan") in (bounds.value.permitted_subtrees or [])


@pytest.mark.parametrize("name", ["bank.example", "8.8.8.8"])
def test_the_ca_vouches_for_no_other_name_and_what_was_there_stays(made: Made, name: str) -> None:
    made.issue(*NAMES)
    before = made.own
    ran = made.run("issue", name)
    assert ran.returncode == 255
    assert "[COSY-TLS-CA-NAMES]" in ran.stderr
    assert name in ran.stderr
    assert "每台设备" in ran.stderr
    assert made.own == before
    made.issue(*NAMES)  # and the next run has nothing to mend
    assert made.own == before


def test_a_ca_for_addresses_alone_vouches_for_no_name_at_all(made: Made) -> None:
    made.issue("203.0.113.7")
    assert "[COSY-TLS-CA-NAMES]" in made.run("issue", "bank.example").stderr
    # The host may move within private networks.
    assert made.issue("192.168.7.7")["made"] == ["certificate"]


@pytest.mark.parametrize("spoilt", ["ends", "another key", "another CA", "other names", "missing"])
def test_what_is_no_good_any_more_is_made_anew(made: Made, spoilt: str) -> None:
    made.issue(*NAMES)
    before = made.own
    names = list(NAMES)
    if spoilt == "ends":  # so many days are left that it is due
        days = certificate.DAYS
        certificate.DAYS = certificate.RENEW_DAYS - 1
        front = certificate.Front(made.place)
        front.make(certificate.Authority(made.state), names)
        certificate.DAYS = days
    elif spoilt == "another key":
        certificate._make_key(made.place / "key.pem")
    elif spoilt == "another CA":
        other = Made(made.state.parent / "other", made.state.parent / "elsewhere")
        for folder in (other.state, other.place):
            folder.mkdir()
        other.issue(*NAMES)
        shutil.copy(other.place / "certificate.pem", made.place)
        shutil.copy(other.place / "key.pem", made.place)
    elif spoilt == "other names":
        names.append("10.1.2.4")
    else:
        (made.place / "certificate.pem").unlink()
    assert made.run("due", *names).returncode == 0
    said = made.issue(*names)
    assert said["made"] == ["certificate"]
    assert said["why"] == spoilt
    assert made.own != before
    assert made.run("due", *names).returncode == 1


def test_a_ca_near_its_end_is_said_and_not_replaced(made: Made) -> None:
    days = certificate.CA_DAYS
    certificate.CA_DAYS = certificate.DAYS - 1
    certificate.Authority(made.state).make(list(NAMES))
    certificate.CA_DAYS = days
    before = made.ca
    ran = made.run("issue", *NAMES)
    assert ran.returncode == 255
    assert "[COSY-TLS-CA-ENDS]" in ran.stderr
    assert made.ca == before


def test_a_failure_is_no_no(made: Made) -> None:
    """systemd leaves the renewal out, silently, where `due` ends with 1 to 254."""
    made.issue(*NAMES)
    (made.place / "key.pem").write_text("nonsense")
    assert made.run("due", *NAMES).returncode in (0, 255)
    made.state.joinpath("ca.pem").unlink()
    shutil.rmtree(made.place)
    assert made.run("issue", *NAMES).returncode == 255


# A certificate that was brought along


class Issuer:
    """A CA of a test's own."""

    def __init__(self, name: str, issuer: Issuer | None = None) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        by = issuer or self
        builder = _begin(self.name, by.name, self.key.public_key(), NOW - DAY, NOW + 900 * DAY)
        extension = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = builder.add_extension(extension, True).sign(by.key, hashes.SHA256())

    def give(
        self, *names: str, begins: datetime.datetime = NOW - DAY,
        ends: datetime.datetime = NOW + 90 * DAY,
    ) -> tuple[str, str]:  # fmt: skip
        """A certificate and its key, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "own")])
        builder = _begin(who, self.name, key.public_key(), begins, ends)
        if names:
            held = [
                x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
                for name in names
            ]
            builder = builder.add_extension(x509.SubjectAlternativeName(held), False)
        return pem(builder.sign(self.key, hashes.SHA256())), pem_key(key)


def _begin(
    subject: x509.Name, issuer: x509.Name, key: Any, begins: datetime.datetime,
    ends: datetime.datetime,
) -> x509.CertificateBuilder:  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )


def pem(one: x509.Certificate) -> str:
    """As a file has it."""
    return one.public_bytes(serialization.Encoding.PEM).decode()


def pem_key(key: ec.EllipticCurvePrivateKey, passphrase: bytes = b"") -> str:
    """As a file has it."""
    hide: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    kind = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, kind, hide).decode()


ROOT_CA = Issuer("root")
MIDDLE = Issuer("middle", ROOT_CA)
TRUSTED, BETWEEN = pem(ROOT_CA.certificate), pem(MIDDLE.certificate)
OWN, KEY = MIDDLE.give(*NAMES)


def judged(
    certificates: str = OWN + BETWEEN, key: str = KEY, ca: str = TRUSTED,
    names: tuple[str, ...] = NAMES,
) -> list[str]:  # fmt: skip
    """What is wrong, in English; each is said in Chinese too."""
    found = faults.tls_faults(certificates, key, ca, list(names), NOW.isoformat())
    assert all(any("一" <= sign <= "龥" for sign in fault["zh"]) for fault in found), found
    return [fault["en"] for fault in found]


def test_a_whole_chain_with_its_key_is_taken() -> None:
    assert judged() == []
    assert judged(OWN + BETWEEN + TRUSTED) == []
    wild, key = MIDDLE.give("*.example.org")
    assert judged(wild + BETWEEN, key, names=("voice.example.org",)) == []
    assert judged(wild + BETWEEN, key, names=("a.voice.example.org",)) != []


def test_what_was_brought_and_will_not_do_is_named() -> None:
    late, late_key = MIDDLE.give(*NAMES, begins=NOW - 9 * DAY, ends=NOW - DAY)
    early, early_key = MIDDLE.give(*NAMES, begins=NOW + DAY)
    other, other_key = MIDDLE.give("other.lan")
    bare, bare_key = MIDDLE.give()
    locked = pem_key(ec.generate_private_key(ec.SECP256R1()), b"secret")
    stranger = Issuer("middle", Issuer("root"))  # the same names, other keys
    for found, says in (
        (judged(late + BETWEEN, late_key), "ended on 2026-05-31"),
        (judged(early + BETWEEN, early_key), "begins on 2026-06-02"),
        (judged(OWN + BETWEEN, other_key), "belongs to another certificate"),
        (judged(OWN + BETWEEN, locked), "has a passphrase"),
        (judged(OWN + BETWEEN, "no key"), "is none in PEM"),
        (judged("no certificate"), "no certificate in PEM"),
        (judged(other + BETWEEN, other_key), "not for voice.lan, 10.1.2.3"),
        (judged(bare + BETWEEN, bare_key), "only for -"),
        (judged(OWN), "The chain is incomplete"),
        (judged(OWN + BETWEEN, ca=""), "The chain is incomplete"),
        (judged(OWN + TRUSTED), "which did not issue it"),
        (judged(OWN + pem(stranger.certificate)), "which did not issue it"),
        (judged(ca="nothing"), "tls_ca_file holds no certificate"),
    ):
        assert len(found) == 1, (says, found)
        assert says in found[0]


def test_a_certificate_in_the_middle_that_ended_is_named_too() -> None:
    later = (NOW + 1000 * DAY).isoformat()
    found = faults.tls_faults(OWN + BETWEEN, KEY, TRUSTED, list(NAMES), later)
    assert len([fault for fault in found if "ended on" in fault["en"]]) == 2


def preflight(**values: Any) -> subprocess.CompletedProcess[str]:
    """The role's own conditions, on this machine."""
    return ansible(
        "ansible", "localhost", "-i", "localhost,", "-c", "local",
        "-m", "ansible.builtin.include_role", "-a", "name=tls tasks_from=preflight",
        "-e", json.dumps(values),
    )  # fmt: skip


def test_files_are_judged_before_anything_is_changed(tmp_path: Path) -> None:
    issuer = Issuer("now")
    today = datetime.datetime.now(datetime.timezone.utc)
    own, key = issuer.give(*NAMES, begins=today - DAY, ends=today + 9 * DAY)
    paths = {name: tmp_path / name for name in ("certificate", "key", "ca")}
    for name, text in (("certificate", own), ("key", key), ("ca", pem(issuer.certificate))):
        paths[name].write_text(text)
    values = {"tls_source": "provided", "tls_names": list(NAMES)}
    values |= {f"tls_{name}_file": str(path) for name, path in paths.items()}
    ran = preflight(**values)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for wrong, code in (
        ({"tls_names": ["elsewhere.lan"]}, "COSY-TLS-CERTIFICATE"),
        ({"tls_key_file": str(tmp_path / "none.pem")}, "COSY-TLS-FILES"),
        ({"tls_names": ["https://voice.lan"]}, "COSY-TLS-VALUES"),
        ({"tls_source": "internal_ca", "tls_hsts_s": 60}, "COSY-TLS-VALUES"),
    ):
        ran = preflight(**{**values, **wrong})
        assert ran.returncode == 2, (wrong, ran.stdout)
        assert f"[{code}]" in ran.stdout, (wrong, ran.stdout)
        assert "BEGIN" not in ran.stdout + ran.stderr


# The door


@dataclass
class Secure:
    """A door with TLS, and whom to trust."""

    plain: Door
    port: int
    ca: Path

    def line(self, name: str = "voice.lan", **bounds: Any) -> ssl.SSLSocket:
        """A connection that trusts the CA and nobody else."""
        context = ssl.create_default_context(cafile=self.ca)
        context.set_alpn_protocols(["h2", "http/1.1"])
        for bound, value in bounds.items():
            setattr(context, bound, value)
        to = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return context.wrap_socket(to, server_hostname=name)

    def curl(self, path: str, *more: str) -> tuple[str, str]:
        """Head and body of an answer over HTTP/2."""
        ran = subprocess.run(
            ["curl", "--silent", "--show-error", "--include", "--http2", "--cacert", self.ca,
             "--resolve", f"voice.lan:{self.port}:127.0.0.1", "--noproxy", "*", *more,
             f"https://voice.lan:{self.port}{path}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        head, _, body = ran.stdout.partition("\n\n")
        return head, body


@pytest.fixture(scope="module")
def secure() -> Iterator[Secure]:
    """The demo's door with a CA of its own, and told to say what goes with a public one."""
    # nginx reads the page as nobody, who may not look into pytest's folders.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        made = Made(folder / "state", folder / "tls")
        for place in (made.state, made.place, made.place / "public"):
            place.mkdir()
        made.issue(*NAMES)
        (made.place / "public/ca.html").write_text("<p>信任本服务</p>", "utf-8")
        shutil.copy(made.state / "ca.pem", made.place / "public/ca.crt")
        port = free_port()
        parts = ("edge/templates/site.conf.j2", "tls/templates/nginx.conf.j2")
        told: dict[str, Any] = {
            "render_templates": [str(ROOT / "roles" / part) for part in parts],
            "tls_names": list(NAMES), "tls_hsts_s": 600, "edge_tls_listen": [f"127.0.0.1:{port}"],
        }  # fmt: skip
        with door("demo", folder, **told) as plain:
            yield Secure(plain, port, made.place / "ca.pem")


@pytest.mark.parametrize("name", NAMES)
def test_the_door_is_trusted_by_whoever_trusts_the_ca(secure: Secure, name: str) -> None:
    with secure.line(name) as line:
        assert line.version() == "TLSv1.3"
        assert line.selected_alpn_protocol() == "h2"
    with pytest.raises(ssl.SSLCertVerificationError):
        secure.line("other.lan")


def test_tls_1_2_is_spoken_with_forward_secrecy_only(secure: Secure) -> None:
    with secure.line(maximum_version=ssl.TLSVersion.TLSv1_2) as line:
        cipher = line.cipher()
    assert cipher is not None
    assert cipher[0].startswith("ECDHE-")
    context = ssl.create_default_context(cafile=secure.ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA:AES256-GCM-SHA384:ECDHE-ECDSA-AES128-SHA")
    with (
        socket.create_connection(("127.0.0.1", secure.port), timeout=10) as to,
        pytest.raises(ssl.SSLError, match="handshake failure"),
    ):
        context.wrap_socket(to, server_hostname="voice.lan")


def test_old_protocols_are_refused_with_the_word_the_audit_waits_for(secure: Secure) -> None:
    def greeted(version: str) -> str:
        asked = [sys.executable, "-c", GREET, "127.0.0.1", str(secure.port), version]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout

    assert REFUSED.fullmatch(greeted("1"))
    assert REFUSED.fullmatch(greeted("2"))
    # It is the version that is refused: of 1.2 only the ciphers are, which are old ones.
    assert greeted("3") == "15030300020228"


def test_plain_http_leads_to_the_same_address_with_tls(secure: Secure) -> None:
    to = f"https://voice.lan:{secure.port}"
    for method, path in (
        ("GET", "/"),
        ("POST", "/v1/jobs?x=1"),
        ("GET", "/metrics"),
        ("GET", "/cA"),
    ):
        answer, _ = secure.plain.ask(
            path, method, b"{}" if method == "POST" else None, Host="voice.lan"
        )
        assert answer.status == 307, path
        assert answer.headers["Location"] == to + path
        assert answer.headers["Strict-Transport-Security"] is None
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_how_to_trust_the_ca_is_said_over_plain_http(secure: Secure) -> None:
    page, body = secure.plain.ask("/ca")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "信任" in body.decode()
    crt, body = secure.plain.ask("/ca.crt")
    assert crt.headers["Content-Type"] == "application/x-x509-ca-cert"
    assert body == secure.ca.read_bytes()
    head, _ = secure.curl("/ca")
    assert head.startswith("HTTP/2 200")


def test_what_is_served_over_tls_is_what_was_served_before(secure: Secure) -> None:
    head, body = secure.curl("/v1/models")
    assert head.startswith("HTTP/2 200")
    assert json.loads(body) == {}
    assert "content-security-policy: " in head
    head, _ = secure.curl("/metrics")
    assert head.startswith("HTTP/2 404")
    head, _ = secure.curl("/v1/jobs", "--data", "12345")
    assert "x-got: 5" in head


def test_browsers_are_told_to_come_back_over_tls_by_tls_alone(secure: Secure) -> None:
    for path in ("/", "/metrics", "/ca"):
        assert "strict-transport-security: max-age=600" in secure.curl(path)[0], path
        answer, _ = secure.plain.ask(path)
        assert answer.headers["Strict-Transport-Security"] is None
