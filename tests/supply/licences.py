"""Which licence each part has: read from its metadata, or judged by people where that is vague."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from packaging.version import Version

from tests.supply import DATA, SupplyError, gather, locks, spdx

READ = DATA / "licences.json"
JUDGED = DATA / "judged.yml"


@dataclass(frozen=True)
class Licence:
    """An SPDX expression, and where it was seen."""

    licence: str
    seen: str

    @property
    def kind(self) -> str:
        return spdx.kind(self.licence)


@cache
def _judged() -> dict[str, dict[str, Any]]:
    judged: dict[str, dict[str, Any]] = yaml.safe_load(JUDGED.read_text(encoding="utf-8"))
    return judged


@cache
def _read() -> dict[str, dict[str, str]]:
    read: dict[str, dict[str, str]] = json.loads(READ.read_text(encoding="utf-8"))
    return read


def judged(group: str, name: str) -> Licence:
    """What people read of a part that no metadata speaks for.

    Raises SupplyError where nobody did.
    """
    entry = _judged()[group].get(name)
    if entry is None:
        raise SupplyError(
            f"{name} has no known licence. Read it, and add it to {JUDGED.name} under {group}"
        )
    return _known(name, Licence(entry["licence"], entry["seen"]))


def python(pin: locks.Pin) -> Licence:
    """The licence of a locked package.

    Raises SupplyError with the cure where it is not known for this version.
    """
    licence = _read().get(pin.name, {}).get(Version(pin.version).public)
    if licence is not None:
        return _known(pin.name, Licence(licence, "the package's metadata"))
    if pin.name in _judged()["python"]:
        return judged("python", pin.name)
    raise SupplyError(
        f"{pin.name} {pin.version} has no known licence. Run: make licences. If its metadata says "
        f"too little, read its licence and add it to {JUDGED.name} under python"
    )


def inside(name: str) -> list[tuple[str, Licence]]:
    """Libraries of other licences that a package's wheel brings along."""
    found = _judged()["inside"].get(name, [])
    return [(entry["what"], Licence(entry["licence"], "the wheel's files")) for entry in found]


def _known(name: str, licence: Licence) -> Licence:
    if spdx.expression(licence.licence) is None:
        raise SupplyError(f"{name}: {licence.licence!r} is no SPDX expression")
    return licence


def refresh(pins: Iterable[locks.Pin], pip: str = sys.executable) -> None:
    """Forget what left the locks, ask the package index about what is new in them, and write.

    Raises SupplyError where a licence is still not known. Nothing new: no network.
    """
    pins = set(pins)
    read = _read() if READ.exists() else {}
    found = {
        (pin.name, version): read[pin.name][version]
        for pin in pins
        if (version := Version(pin.version).public) in read.get(pin.name, {})
    }
    if any(map(_unknown, pins)):
        new = [pin for pin in pins if (pin.name, Version(pin.version).public) not in found]
        found |= gather.licences(new, pip)
    table: dict[str, dict[str, str]] = {}
    for (name, version), licence in sorted(found.items()):
        table.setdefault(name, {})[version] = licence
    READ.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    _read.cache_clear()
    for pin in sorted(pins, key=lambda pin: pin.name):
        python(pin)


def _unknown(pin: locks.Pin) -> bool:
    try:
        python(pin)
    except SupplyError:
        return True
    return False
