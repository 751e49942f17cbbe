"""Keys and passwords: how they are made, and what is kept of them.

A key has 256 bits of chance, so its SHA-256 tells nothing of it. A password may be one that a
person thought of, so what is kept of it is made by scrypt with the first of the settings that
OWASP's Password Storage Cheat Sheet gives for 32 MiB (N=2^15, r=8, p=3).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import unicodedata

from cosyhost.errors import PASSWORD_WEAK, Problem

SHORTEST = 12
_LONGEST = 256
_N, _R, _P = 1 << 15, 8, 3
_ROOM = 2 * 128 * _N * _R
_KEY = re.compile(r"cosy_[0-9a-f]{16}_[A-Za-z0-9_-]{43}")


def new_key(holder_id: str) -> str:
    """A key; it names its holder, so that it can be looked up."""
    return f"cosy_{holder_id}_{secrets.token_urlsafe(32)}"


def is_key(text: str) -> bool:
    """Whether it looks like a key; its second part is the holder's id then."""
    return bool(_KEY.fullmatch(text))


def new_password() -> str:
    """A password of 120 bits."""
    return secrets.token_urlsafe(15)


def of_key(key: str) -> str:
    """What is kept of a key."""
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def of_password(password: str) -> str:
    """What is kept of a password.

    Raises:
        Problem: PASSWORD_WEAK.
    """
    if not SHORTEST <= len(password) <= _LONGEST:
        raise Problem(PASSWORD_WEAK, shortest=SHORTEST, longest=_LONGEST)
    salt = secrets.token_bytes(16)
    return f"scrypt:{salt.hex()}:{_scrypt(password, salt).hex()}"


def opens(key: str, kept: str) -> bool:
    """Whether it is the key that `kept` was made of."""
    return hmac.compare_digest(of_key(key), kept)


def right(given: str, kept: str | None) -> bool:
    """Whether `given` is the password or key that `kept` was made of.

    It takes as long where there is nobody (`kept` is None), or somebody with a key.
    """
    kind, _, rest = (kept or "").partition(":")
    salt, _, expected = rest.partition(":") if kind == "scrypt" else ("00" * 16, "", "")
    found = _scrypt(given[:_LONGEST], bytes.fromhex(salt)).hex()
    if kind == "sha256":
        return opens(given, kept or "")
    return hmac.compare_digest(found, expected)


def _scrypt(password: str, salt: bytes) -> bytes:
    data = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=_N, r=_R, p=_P, maxmem=_ROOM, dklen=32)
