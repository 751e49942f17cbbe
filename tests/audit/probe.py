"""HTTP requests made on the host under audit, with nothing but its own Python."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from tests.audit.report.evidence import reword

SCRIPT = Path(__file__).with_name("probe_script.py")
# Told in both languages, as users write; what the preview engine makes of it takes about 8 s.
TEXT = "您好，这是一次验收：声音应当清楚、完整。 This is an audit: the voice should be whole."
# Where the role tls puts a CA that is no public one.
CA = "/etc/cosyhost/tls/ca.pem"
CONSENT = "made up for the audit"

# A greeting of an old protocol, written by hand: programs of today refuse to say it.
GREET = """
import os, socket, sys
ciphers = bytes.fromhex("00000cc009c00ac013c014002f00350100")
hello = bytes((3, int(sys.argv[3]))) + os.urandom(32) + ciphers
told = b"\\x01" + len(hello).to_bytes(3, "big") + hello
line = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10)
line.sendall(b"\\x16\\x03\\x01" + len(told).to_bytes(2, "big") + told)
print(line.recv(7).hex(), end="")
"""
# Its own word for it is alert 70; a client that cannot speak these would prove nothing.
REFUSED = re.compile("1503..00020246")


@dataclass(frozen=True)
class Answer:
    """A response; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    first_byte_s: float
    seconds: float
    reads: int

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    @property
    def shown(self) -> str:
        """Status, headers and text, as evidence; a cookie would let its reader in."""
        lines = [f"HTTP {self.status}, {len(self.body)} bytes in {self.reads} pieces"]
        lines += [f"{k}: {v}" for k, v in self.headers.items() if k != "set-cookie"]
        kind = self.headers.get("content-type", "")
        if "content-encoding" not in self.headers and re.search("text|json|xml", kind):
            lines += ["", self.text]
        return "\n".join(lines)

    @property
    def brief(self) -> str:
        """Status and beginning of the body, as evidence."""
        kind = self.headers.get("content-type", "no type")
        return f"answered {self.status}, {kind}, {len(self.body)} bytes: {self.text[:200]!r}"


@dataclass(frozen=True)
class Probe:
    """One address, asked from the host itself."""

    host: Host
    address: str
    port: int
    name: str = ""  # whose certificate it must show; empty without TLS
    ca: str = ""  # on the host, what to trust beside the system's

    @classmethod
    def through(cls, host: Host, values: dict[str, Any], *, plain: bool = False) -> Probe:
        """The first of nginx's addresses: with TLS where it has that, or the `plain` one."""
        secure = [] if plain else values["edge_tls_listen"]
        address, port = split_address(str((secure or values["edge_listen"])[0]))
        address = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(address, address)
        if not secure:
            return cls(host, address, port)
        return cls(host, address, port, values["tls_names"][0], CA if values["tls_ca_file"] else "")

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        zeros: int = 0,
        json_body: dict[str, Any] | None = None,
        head_only: bool = False,
    ) -> Answer:
        """One request; `zeros` is a body of so many bytes, `head_only` hangs up after the head."""
        return self._run(
            {"path": path, "method": method, "headers": headers or {}, "zeros": zeros,
             "json": json_body, "head_only": head_only}
        )  # fmt: skip

    def speak(self, consent: str = CONSENT) -> Answer:
        """A text, spoken with a made-up prompt audio."""
        body = {"input": TEXT, "mode": "cross_lingual", "response_format": "wav", "seed": 1,
                "consent": consent}  # fmt: skip
        return self._run({"path": "/v1/audio/speech", "method": "POST", "json": body,
                          "headers": {}, "prompt_s": 5})  # fmt: skip

    def _run(self, request: dict[str, Any]) -> Answer:
        order = {"address": self.address, "port": self.port, "name": self.name, "ca": self.ca,
                 **request}  # fmt: skip
        ran = self.host.run("python3 -c %s %s", SCRIPT.read_text(), json.dumps(order))
        if ran.rc:
            said = (ran.stderr.strip().splitlines() or ["nothing"])[-1]
            pytest.fail(f"{self.address}:{self.port} cannot be asked: {said}")
        document = json.loads(ran.stdout)
        document["body"] = base64.b64decode(document["body"])
        answer = Answer(**document)
        reword(ran, self._told(request), answer.shown)
        return answer

    def _told(self, request: dict[str, Any]) -> str:
        """A request in words."""
        scheme = "https" if self.name else "http"
        parts = [f"{request['method']} {scheme}://{self.address}:{self.port}{request['path']}"]
        parts += [f"{name}: {value}" for name, value in request["headers"].items()]
        if request.get("zeros"):
            parts.append(f"{request['zeros']} bytes, all of them zero")
        if request.get("json"):
            parts.append(json.dumps(request["json"], ensure_ascii=False))
        return "  ".join(parts)


def split_address(listen: str) -> tuple[str, int]:
    """nginx's or a socket's address as (address, port): `80`, `127.0.0.1:80`, `[::]:80 ssl`."""
    first = listen.split()[0]
    address, _, port = first.rpartition(":")
    return (address.replace("*", "0.0.0.0") or "0.0.0.0", int(port))


def missing(words: Iterable[str], text: str) -> list[str]:
    """Those words that the text lacks."""
    return [word for word in words if not re.search(re.escape(word), text)]
