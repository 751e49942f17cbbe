"""Takes out of a report what is secret: what the inventory and the hosts' credentials say."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

MARK = "[redacted]"
# Whatever is below a variable of such a name; what the receivers of alerts are reached at is as
# good as a password.
SECRET = re.compile(
    r"passw|passphrase|_pass$|secret(?!s?_dir)|token|credential|api_?key|private_key(?!_file)"
    r"|^alertmanager_(webhooks|bots)$|^auth$", re.I
)  # fmt: skip
# In those places, what is no secret.
PLAIN = {"kind", "to", "from", "username", "smarthost", "require_tls"}
IN_URL = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")
AT_LEAST = 4
# A credential file has other words beside its secret; those are shorter.
IN_FILE_AT_LEAST = 12


class Redactor:
    """Knows secrets, and cleans texts of them."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secret: str) -> None:
        """A secret, as it is; it is found in the ways that reports may write it, too."""
        forms = {secret, secret.strip(), *secret.splitlines()}
        for form in [form for form in forms if len(form) >= AT_LEAST]:
            raw = form.encode()
            self._secrets |= {
                form, json.dumps(form)[1:-1], json.dumps(form, ensure_ascii=False)[1:-1],
                quote(form, safe=""), quote(form), html.escape(form), repr(form)[1:-1],
                form.replace("'", "'\"'\"'"), base64.b64encode(raw).decode(), raw.hex(),
            }  # fmt: skip
        self._pattern = None

    def add_variables(self, values: dict[str, Any]) -> None:
        """The secrets among a host's variables."""
        for secret in _secrets(values, below=False):
            self.add(secret)

    def add_credential(self, text: str) -> None:
        """The secrets in a file that holds nothing else: a password, JSON, or NAME=value lines."""
        try:
            held = json.loads(text)
        except ValueError:
            held = None
        if isinstance(held, dict | list):
            found = list(_strings(held))
        else:
            found = [text, *(line.partition("=")[2] for line in text.splitlines())]
        for secret in found:
            if len(secret.strip()) >= IN_FILE_AT_LEAST:
                self.add(secret)

    def clean(self, text: str) -> str:
        """The text without them."""
        if self._pattern is None:
            longest = sorted(self._secrets, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest)) or r"(?!)")
        return self._pattern.sub(MARK, text)

    def clean_all(self, document: Any) -> Any:
        """A JSON document without them; its keys are our own."""
        if isinstance(document, str):
            return self.clean(document)
        if isinstance(document, dict):
            return {key: self.clean_all(value) for key, value in document.items()}
        if isinstance(document, list):
            return [self.clean_all(value) for value in document]
        return document


def _secrets(value: Any, below: bool) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            if not (below and key in PLAIN):
                yield from _secrets(one, below or bool(SECRET.search(str(key))))
    elif isinstance(value, list):
        for one in value:
            yield from _secrets(one, below)
    elif isinstance(value, str):
        if below:
            yield value
            # A token is a secret without its address, too.
            yield from re.findall(r"[?&][^=&]+=([^&]{12,})", value)
        yield from IN_URL.findall(value)
    elif below and isinstance(value, int) and not isinstance(value, bool):
        yield str(value)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)
