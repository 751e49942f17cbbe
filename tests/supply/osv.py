"""OSV records and the algorithm of their schema: is this version affected?

https://ossf.github.io/osv-schema/#evaluation, for PyPI (PEP 440) and npm (SemVer).
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion
from packaging.version import Version as Pep440
from semantic_version import Version as SemVer

from tests.supply import SupplyError

PYPI, NPM = "PyPI", "npm"
Parse = Callable[[str], Any]
PARSERS: dict[str, Parse] = {PYPI: Pep440, NPM: SemVer}


@dataclass(frozen=True)
class Package:
    """A package of an ecosystem at one version."""

    ecosystem: str
    name: str
    version: str

    @property
    def key(self) -> tuple[str, str]:
        """What records are looked up by."""
        return self.ecosystem, _plain(self.ecosystem, self.name)


@dataclass(frozen=True)
class Verdict:
    """A record that affects a package, and the versions that mend it."""

    record: Mapping[str, Any]
    fixed: tuple[str, ...]
    # A range whose versions nobody can compare: taken as affected, a person must look.
    unclear: bool = False

    @property
    def ids(self) -> frozenset[str]:
        return frozenset({self.record["id"], *(self.record.get("aliases") or [])})


@dataclass
class Database:
    """The records about the wanted packages, and the day of the newest record of all."""

    newest: datetime
    records: int
    about: dict[tuple[str, str], list[Mapping[str, Any]]] = field(default_factory=dict)


def load(path: Path, wanted: set[tuple[str, str]]) -> Database:
    """Read an ecosystem's export, the zip with a JSON file for each record.

    Raises SupplyError where it is missing, damaged, or something else.
    """
    database = Database(newest=datetime.min.replace(tzinfo=timezone.utc), records=0)
    name = ""
    try:
        for member, data in _members(path):
            name = member
            record = json.loads(data)
            database.newest = max(database.newest, _time(record["modified"]))
            database.records += 1
            packages = [one.get("package") or {} for one in record.get("affected") or []]
            keys = {
                (one["ecosystem"], _plain(one["ecosystem"], one["name"])) for one in packages if one
            }
            for key in keys & wanted:
                database.about.setdefault(key, []).append(record)
    except FileNotFoundError as error:
        raise SupplyError(f"{path} is not there") from error
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
        raise SupplyError(f"{path} is no whole zip file: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SupplyError(f"{path}: {name} is no OSV record: {error!r}") from error
    if not database.records:
        raise SupplyError(f"{path} holds no record")
    return database


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".json"):
                yield name, archive.read(name)


def _time(text: str) -> datetime:
    # Up to nine digits of a second are written; Python 3.10 and 3.11 read six at most.
    return datetime.fromisoformat(re.sub(r"\.\d+", "", text).replace("Z", "+00:00"))


def _plain(ecosystem: str, name: str) -> str:
    return canonicalize_name(name) if ecosystem == PYPI else name


def judge(package: Package, record: Mapping[str, Any]) -> Verdict | None:
    """Whether a record affects a package; None: it does not, or was withdrawn.

    Raises SupplyError where the record is not of the schema.
    """
    if record.get("withdrawn"):
        return None
    try:
        return _judge(package, record)
    except (KeyError, TypeError, AttributeError) as error:
        raise SupplyError(f"{record['id']} is no OSV record: {error!r}") from error


def _judge(package: Package, record: Mapping[str, Any]) -> Verdict | None:
    parse = PARSERS[package.ecosystem]
    version = parse(_public(package))
    hit = unclear = False
    fixed: set[str] = set()
    for affected in record.get("affected") or []:
        named = affected.get("package") or {}
        mine = Package(named.get("ecosystem", ""), named.get("name", ""), "").key == package.key
        if not mine:
            continue
        listed = affected.get("versions") or []
        hit = hit or any(_same(parse, version, one) for one in listed)
        for span in affected.get("ranges") or []:
            if span["type"] == "GIT":  # needs the repository's history
                continue
            try:
                hit = hit or _within(parse, version, span["events"])
                fixed |= _after(parse, version, span["events"])
            except ValueError:
                unclear = unclear or not listed  # then the list alone decides
    if not (hit or unclear):
        return None
    return Verdict(record, tuple(sorted(fixed, key=parse)), unclear=unclear and not hit)


def _public(package: Package) -> str:
    # 2.13.0+cpu is another build of 2.13.0, and shares its faults.
    return Pep440(package.version).public if package.ecosystem == PYPI else package.version


def _same(parse: Parse, version: Any, text: str) -> bool:
    try:
        return bool(parse(text) == version)
    except ValueError:
        return False


def _within(parse: Parse, version: Any, events: list[Mapping[str, str]]) -> bool:
    limits = [event["limit"] for event in events if "limit" in event]
    if limits and not any("*" in limit or version < parse(limit) for limit in limits):
        return False
    affected = False
    for kind, bound in _sorted(parse, events):
        if kind == "introduced" and (bound is None or version >= bound):
            affected = True
        elif (kind == "fixed" and version >= bound) or (
            kind == "last_affected" and version > bound
        ):
            affected = False
    return affected


def _sorted(parse: Parse, events: list[Mapping[str, str]]) -> list[tuple[str, Any]]:
    """The events in order, None for the beginning of all versions."""
    timeline = [
        (kind, None if (kind, text) == ("introduced", "0") else parse(text))
        for event in events
        for kind, text in event.items()
        if kind != "limit"
    ]
    begun = [pair for pair in timeline if pair[1] is None]
    # Where one version both ends a range and begins another, it is affected.
    order = ("fixed", "last_affected", "introduced")
    rest = sorted(
        (pair for pair in timeline if pair[1] is not None),
        key=lambda pair: (pair[1], order.index(pair[0])),
    )
    return begun + rest


def _after(parse: Parse, version: Any, events: list[Mapping[str, str]]) -> set[str]:
    texts = [event["fixed"] for event in events if "fixed" in event]
    later = sorted((text for text in texts if parse(text) > version), key=parse)
    return set(later[:1])


# What the parsers raise is a ValueError, which the callers here count on.
assert issubclass(InvalidVersion, ValueError)
