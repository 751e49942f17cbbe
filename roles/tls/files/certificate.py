"""A CA of this host's own, and the certificate it gives the front door. Python and openssl.

    certificate.py due NAME...      ends with 0 when `issue` would make something, with 1 when not
    certificate.py issue NAME...    makes what is due; says as JSON what it made

NAME is a name or an address that users open the service by; the certificate is for these and no
others. The CA may vouch for no name outside its own (RFC 5280, 4.2.1.10): who trusts it trusts it
with this service, and not with their bank's.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

STATE = Path("/var/lib/cosyhost-tls")
PLACE = Path("/etc/cosyhost/tls")

# Devices learn to trust a CA by hand, so it stays; certificates are renewed without anybody.
# Browsers take 825 days of a CA that was added, 398 of any other.
CA_DAYS = 3650
DAYS = 90
RENEW_DAYS = 30
# Whatever address the host gets in such a network, its CA may vouch for it.
PRIVATE = (
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10",
)  # fmt: skip
# Without one permitted name all would be.
NO_NAME = "cosyhost.internal"
FAILED = 255  # systemd's ExecCondition: this is an error, 1 is a no


class Failure(Exception):
    """What stops the work: a stable code, and what to do next in both languages."""

    def __init__(self, code: str, english: str, chinese: str) -> None:
        super().__init__(f"[COSY-TLS-{code}] {english} {chinese}")


def openssl(*arguments: str | Path, told: str = "") -> str:
    """What openssl prints; it must succeed."""
    ran = subprocess.run(
        ["openssl", *arguments], input=told, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        said = " ".join(ran.stderr.split())
        raise Failure("OPENSSL", f"openssl {arguments[0]}: {said}", "openssl 执行失败。")
    return ran.stdout


def holds(*arguments: str | Path) -> bool:
    """Whether openssl agrees."""
    ran = subprocess.run(["openssl", *arguments], capture_output=True, check=False)
    return ran.returncode == 0


def address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The name as an address, if it is one."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def alternatives(names: list[str]) -> str:
    """The names as an X.509 extension has them."""
    return ",".join(f"{'IP' if address(name) else 'DNS'}:{name}" for name in names)


class Authority:
    """The CA, in a folder that only root may read the key of."""

    def __init__(self, folder: Path) -> None:
        self.key = folder / "ca.key"
        self.certificate = folder / "ca.pem"

    def is_there(self) -> bool:
        """Whether key and certificate are."""
        return self.key.is_file() and self.certificate.is_file()

    def make(self, names: list[str]) -> None:
        """A CA for these names, and for addresses of private networks."""
        permitted = [f"DNS.{i}={name}" for i, name in enumerate(_hosts(names) or [NO_NAME])]
        networks = [*PRIVATE, *(name for name in names if address(name))]
        for i, network in enumerate(networks):
            permitted.append(f"IP.{i}={ipaddress.ip_network(network).with_netmask}")
        settings = "\n".join(
            [
                "[req]", "prompt=no", "distinguished_name=who", "x509_extensions=ca",
                "[who]", "O=CosyHost", f"CN=CosyHost CA {secrets.token_hex(4)}",
                "[ca]", "basicConstraints=critical,CA:TRUE,pathlen:0",
                "keyUsage=critical,keyCertSign,cRLSign", "extendedKeyUsage=serverAuth",
                "subjectKeyIdentifier=hash", "nameConstraints=critical,@names",
                "[names]", *(f"permitted;{one}" for one in permitted), "",
            ]
        )  # fmt: skip
        with tempfile.TemporaryDirectory(dir=self.key.parent) as folder:
            key, made, told = (Path(folder) / name for name in ("key", "ca.pem", "settings"))
            told.write_text(settings, encoding="utf-8")
            _make_key(key)
            openssl(
                "req", "-x509", "-new", "-sha256", "-config", told, "-key", key, "-out", made,
                "-days", str(CA_DAYS), "-set_serial", _serial(),
            )  # fmt: skip
            _put(key, self.key, 0o600)
            _put(made, self.certificate, 0o644)

    def sign(self, key: Path, names: list[str], out: Path) -> None:
        """A certificate for these names, which must be the CA's own."""
        if not holds("x509", "-in", self.certificate, "-noout", "-checkend", str(DAYS * 86400)):
            raise Failure(
                "CA-ENDS",
                f"The CA of this host ends within {DAYS} days. To make another one, remove "
                f"{self.key.parent}/ca.* and run site.yml; every device must then trust that one.",
                f"本机 CA 将在 {DAYS} 天内到期。请删除 {self.key.parent}/ca.* 后运行 site.yml，"
                "并在每台设备上信任新的 CA。",
            )
        extensions = out.with_name("extensions")
        extensions.write_text(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
            "extendedKeyUsage=serverAuth\nsubjectKeyIdentifier=hash\n"
            f"authorityKeyIdentifier=keyid\nsubjectAltName={alternatives(names)}\n",
            encoding="utf-8",
        )
        # With a space: what looks like a name in there would be held against the CA's names.
        request = openssl("req", "-new", "-key", key, "-subj", "/O=CosyHost/CN=CosyHost front door")
        openssl(
            "x509", "-req", "-sha256", "-CA", self.certificate, "-CAkey", self.key, "-out", out,
            "-days", str(DAYS), "-set_serial", _serial(), "-extfile", extensions, told=request,
        )  # fmt: skip
        if not self.vouches_for(out):
            raise Failure(
                "CA-NAMES",
                f"The CA of this host was made for other names than {', '.join(names)}. To make "
                f"another one, remove {self.key.parent}/ca.* and run site.yml; every device must "
                "then trust that one.",
                f"本机 CA 不可为 {'、'.join(names)} 签发证书。请删除 {self.key.parent}/ca.* 后"
                "运行 site.yml，并在每台设备上信任新的 CA。",
            )

    def vouches_for(self, certificate: Path) -> bool:
        """Whether a browser that trusts the CA takes the certificate."""
        return holds("verify", "-purpose", "sslserver", "-CAfile", self.certificate, certificate)


class Front:
    """The certificate and key that nginx reads, and the CA's certificate for our own checks."""

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "certificate.pem"
        self.key = folder / "key.pem"
        self.ca = folder / "ca.pem"

    def why_due(self, authority: Authority, names: list[str]) -> str:
        """Why the certificate must be made; empty while it is well."""
        if not (self.certificate.is_file() and self.key.is_file() and authority.is_there()):
            return "missing"
        if not self.ca.is_file() or self.ca.read_bytes() != authority.certificate.read_bytes():
            return "another CA"
        left = ("x509", "-in", self.certificate, "-noout", "-checkend", str(RENEW_DAYS * 86400))
        if not holds(*left):
            return "ends"
        if not authority.vouches_for(self.certificate):
            return "another CA"
        if self._public("x509", "-pubkey", "-noout") != openssl("pkey", "-in", self.key, "-pubout"):
            return "another key"
        return "" if self._names() == {_same(name) for name in names} else "other names"

    def make(self, authority: Authority, names: list[str]) -> None:
        """A new key with a new certificate, in place of the old ones once they are whole."""
        with tempfile.TemporaryDirectory(dir=self.key.parent) as folder:
            key, made, ca = (Path(folder) / name for name in ("key", "certificate", "ca"))
            _make_key(key)
            authority.sign(key, names, made)
            ca.write_bytes(authority.certificate.read_bytes())
            _put(key, self.key, 0o600)
            _put(made, self.certificate, 0o644)
            _put(ca, self.ca, 0o644)

    def _public(self, *how: str) -> str:
        return openssl(*how, "-in", self.certificate)

    def _names(self) -> set[str]:
        said = self._public("x509", "-noout", "-ext", "subjectAltName")
        return {_same(name) for name in re.findall(r"(?:DNS|IP Address):([^,\s]+)", said)}


def _hosts(names: list[str]) -> list[str]:
    return [name for name in names if not address(name)]


def _same(name: str) -> str:
    """One spelling for each name."""
    return str(address(name) or name.lower())


def _serial() -> str:
    return "0x" + secrets.token_hex(16)


def _make_key(path: Path) -> None:
    """P-256: every browser has it, and a handshake costs little."""
    path.touch(0o600)
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)


def _put(path: Path, to: Path, mode: int) -> None:
    path.chmod(mode)
    path.replace(to)


def work(command: str, names: list[str], state: Path, place: Path) -> int:
    """Do what was asked; returns the exit status."""
    authority, front = Authority(state), Front(place)
    why = front.why_due(authority, names)
    if command == "due":
        return 0 if why else 1
    made = []
    if not authority.is_there():
        authority.make(names)
        made.append("ca")
    if why:
        front.make(authority, names)
        made.append("certificate")
    said = openssl("x509", "-in", authority.certificate, "-noout", "-fingerprint", "-sha256")
    print(json.dumps({"made": made, "why": why, "fingerprint": said.strip().partition("=")[2]}))
    return 0


def main(arguments: list[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=["due", "issue"])
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--state", type=Path, default=STATE, metavar="DIR", help="the CA's")
    parser.add_argument("--place", type=Path, default=PLACE, metavar="DIR", help="nginx's")
    told = parser.parse_args(arguments)
    os.umask(0o077)
    try:
        return work(told.command, told.names, told.state, told.place)
    except (Failure, OSError) as failure:
        print(failure, file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
