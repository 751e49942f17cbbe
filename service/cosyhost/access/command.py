"""`cosyhost keys`: who may come in, made, listed and revoked on the host."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import sys
import time
import unicodedata
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from cosyhost import config
from cosyhost.access import secret
from cosyhost.access.holders import Holder, Holders, identity
from cosyhost.errors import KEY_EXPIRY_INVALID, KEYS_NEED_ROOT, Problem
from cosyhost.store import Store

_CREDENTIALS = "/etc/cosyhost/credentials"
_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}
_SOON_S = 7 * 86400


def describe(verb: argparse.ArgumentParser) -> None:
    """Its arguments."""
    verbs = verb.add_subparsers(required=True, metavar="WHAT", dest="what")
    create = verbs.add_parser("create", help="let somebody in; prints the key or password, once")
    create.add_argument("name", help="whom it is for; also the name to sign in with")
    create.add_argument("--role", choices=["user", "admin"], default="user")
    create.add_argument(
        "--expires", metavar="TIME", help="in so many hours, days or weeks: 12h, 14d, 4w"
    )
    create.add_argument(
        "--password", action="store_true", help="a password for the sign-in page, no key"
    )
    create.add_argument(
        "--again",
        action="store_true",
        help="a new one for somebody who is there: the old one and its end no longer count",
    )
    listing = verbs.add_parser("list", help="who may come in, and until when")
    revoke = verbs.add_parser("revoke", help="let somebody in no longer; holds within seconds")
    revoke.add_argument("name")
    password = verbs.add_parser(
        "password", help="set a password, asked for here or read from standard input"
    )
    password.add_argument("name")
    for part in (create, listing, revoke):
        part.add_argument("--json", action="store_true", help="say it as JSON")


def run(options: argparse.Namespace, settings: config.Config) -> None:
    """Do what is asked.

    Raises:
        Problem: KEY_* or PASSWORD_WEAK, or a problem of the store.
    """
    holders = Holders(_store(settings))
    if options.what == "list":
        _list(holders.all(), as_json=options.json)
    elif options.what == "create":
        _create(holders, options)
    else:
        old = holders.named(options.name)
        if options.what == "revoke":
            new = msgspec.structs.replace(old, revoked=old.revoked or time.time())
        else:
            new = msgspec.structs.replace(old, secret=secret.of_password(_asked()))
        holders.add(new, again=True)
        if getattr(options, "json", False):
            print(json.dumps(_shown(new), ensure_ascii=False))


def _store(settings: config.Config) -> Store:
    """The store, as the user whose it is: what root writes, the service could not read."""
    if settings.store.url.startswith("s3:"):
        os.environ.setdefault("CREDENTIALS_DIRECTORY", _CREDENTIALS)
    else:
        voices = Path(urlsplit(settings.store.url).path) / "voices"
        if voices.exists() and os.geteuid() != voices.stat().st_uid:
            if os.geteuid():
                raise Problem(KEYS_NEED_ROOT)
            there = voices.stat()
            os.setgroups([])
            os.setgid(there.st_gid)
            os.setuid(there.st_uid)
    os.umask(0o077)
    return Store(settings.store)


def _create(holders: Holders, options: argparse.Namespace) -> None:
    name = unicodedata.normalize("NFC", options.name).strip()
    holder_id = identity(name)
    key = secret.new_password() if options.password else secret.new_key(holder_id)
    holder = Holder(
        id=holder_id,
        name=name,
        role=options.role,
        created=time.time(),
        expires=_expiry(options.expires),
        revoked=0,
        secret=secret.of_password(key) if options.password else secret.of_key(key),
    )
    holders.add(holder, again=options.again)
    what = "password" if options.password else "key"
    if options.json:
        print(json.dumps(_shown(holder) | {what: key}, ensure_ascii=False))
        return
    print(key)
    print(
        f"cosyhost: this {what} is shown once and kept nowhere; the name is {name}. "
        "它只显示这一次，请立即保存。",
        file=sys.stderr,
    )


def _expiry(given: str | None) -> float:
    if given is None:
        return 0
    found = re.fullmatch(r"(\d{1,4})([hdw])", given, re.ASCII)
    if not found or not int(found[1]):
        raise Problem(KEY_EXPIRY_INVALID, given=given[:40])
    return time.time() + int(found[1]) * _UNITS[found[2]]


def _asked() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("password 密码: ")
    return sys.stdin.readline().rstrip("\n")


def _state(holder: Holder) -> str:
    left_s = holder.expires - time.time()
    if holder.revoked:
        return "revoked"
    if holder.expires and left_s <= 0:
        return "expired"
    return "expires soon" if holder.expires and left_s < _SOON_S else "valid"


def _shown(holder: Holder) -> dict[str, object]:
    """What may be shown: nothing of the secret but its kind."""
    return {
        "id": holder.id,
        "name": holder.name,
        "role": holder.role,
        "kind": "key" if holder.secret.startswith("sha256:") else "password",
        "created": _day(holder.created),
        "expires": _day(holder.expires),
        "revoked": _day(holder.revoked),
        "state": _state(holder),
    }


def _day(when: float) -> str | None:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when)) if when else None


def _list(holders: list[Holder], *, as_json: bool) -> None:
    rows = [_shown(holder) for holder in holders]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        end = row["revoked"] or row["expires"] or "no end"
        print(f"{row['id']}  {row['role']:5}  {row['kind']:8}  {row['state']:12}  {end:20}  {row['name']}")
