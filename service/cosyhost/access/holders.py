"""The holders' records in the store, one file each, beside the voices that belong to them."""

from __future__ import annotations

import hashlib
import re
import time
import unicodedata
from typing import Literal

import msgspec

from cosyhost.errors import (
    KEY_EXPIRED,
    KEY_INVALID,
    KEY_NAME_INVALID,
    KEY_NAME_TAKEN,
    KEY_NAME_UNKNOWN,
    KEY_REVOKED,
    Problem,
)
from cosyhost.store import AlreadyExistsError, Store

# Below `voices/`: it is closed to others, writable for the web, on the volume and in the backup.
_FOLDER = "voices/access"
# How long a revocation may take to be heard of.
FRESH_S = 3.0
_REMEMBERED = 10_000
_NAME = re.compile(r"[^\W_][\w@. \-]{0,63}")
_ID = re.compile(r"[0-9a-f]{16}")

Role = Literal["user", "admin"]


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who may come in. Times are Unix seconds; 0 is never.

    `secret` is what is kept of the key or password (`access.secret`).
    """

    id: str
    name: str
    role: Role
    created: float
    expires: float
    revoked: float
    secret: str

    def check(self) -> None:
        """Return if the holder may come in now.

        Raises:
            Problem: KEY_REVOKED or KEY_EXPIRED.
        """
        if self.revoked:
            raise Problem(KEY_REVOKED)
        if self.expires and self.expires <= time.time():
            raise Problem(KEY_EXPIRED, day=time.strftime("%Y-%m-%d", time.gmtime(self.expires)))


# The deployment itself, which asks the service to speak before it is let loose.
MONITOR = Holder(
    id="deployment", name="deployment", role="user", created=0, expires=0, revoked=0, secret=""
)


def identity(name: str) -> str:
    """The id of the holder of that name; the same for as long as the name is."""
    name = unicodedata.normalize("NFC", name).strip()
    return hashlib.sha256(name.casefold().encode("utf-8", "surrogatepass")).hexdigest()[:16]


class Holders:
    """All holders. Any method may raise STORE_UNAVAILABLE as a `Problem`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: dict[str, tuple[float, Holder | None]] = {}

    def add(self, holder: Holder, *, again: bool = False) -> None:
        """Enter a holder; `again` replaces the one of that name.

        Raises:
            Problem: KEY_NAME_INVALID or KEY_NAME_TAKEN.
        """
        if not _NAME.fullmatch(holder.name) or holder.id != identity(holder.name):
            raise Problem(KEY_NAME_INVALID)
        try:
            self._store.put(_key(holder.id), msgspec.json.encode(holder), new=not again)
        except AlreadyExistsError:
            raise Problem(KEY_NAME_TAKEN, name=holder.name) from None

    def named(self, name: str) -> Holder:
        """The holder of that name, as the store has it now.

        Raises:
            Problem: KEY_NAME_UNKNOWN.
        """
        holder = self._read(identity(name))
        if holder is None:
            raise Problem(KEY_NAME_UNKNOWN, name=name[:64])
        return holder

    def all(self) -> list[Holder]:
        """Every holder, by name."""
        found = [self._store.get(key) for key, _ in self._store.keys(_FOLDER)]
        holders = [msgspec.json.decode(data, type=Holder) for data in found if data]
        return sorted(holders, key=lambda holder: holder.name.casefold())

    def find(self, holder_id: str) -> Holder | None:
        """The holder of that id, as it was at most `FRESH_S` ago."""
        now = time.monotonic()
        when, holder = self._seen.get(holder_id, (-FRESH_S, None))
        if now - when >= FRESH_S:
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            holder = self._read(holder_id)
            self._seen[holder_id] = (now, holder)
        return holder

    def known(self, holder_id: str) -> Holder:
        """The same, for who must be there and may come in.

        Raises:
            Problem: KEY_INVALID, KEY_REVOKED or KEY_EXPIRED.
        """
        holder = self.find(holder_id)
        if holder is None:
            raise Problem(KEY_INVALID)
        holder.check()
        return holder

    def _read(self, holder_id: str) -> Holder | None:
        data = self._store.get(_key(holder_id)) if _ID.fullmatch(holder_id) else None
        return msgspec.json.decode(data, type=Holder) if data else None


def _key(holder_id: str) -> str:
    return f"{_FOLDER}/{holder_id}.json"
