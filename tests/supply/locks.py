"""The Python locks: each line is one version with the hashes of its files, or it is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tests.supply import ROOT, SupplyError

LOCKS = ROOT / "files/requirements"
# Appended to another lock by `make lock`; nothing is installed with it alone.
PARTS = ("engine/torch-cpu.txt",)
# Hosts: Debian 12 and 13, Ubuntu 22.04 and 24.04. The markers also ask for the third number.
PYTHONS = ("3.11", "3.13", "3.10", "3.12")
MACHINES = ("x86_64", "aarch64")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Pin:
    """One version of a package, as a lock has it."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    @property
    def pythons(self) -> tuple[str, ...]:
        """The hosts' Pythons that install it; none: it is for other systems."""
        if not self.marker:
            return PYTHONS
        marker = Marker(self.marker)
        return tuple(
            python
            for python in PYTHONS
            if any(marker.evaluate(environment) for environment in _hosts(python))
        )


def _hosts(python: str) -> Iterator[dict[str, str]]:
    for machine in MACHINES:
        for micro in (0, 99):
            yield {
                "implementation_name": "cpython",
                "os_name": "posix",
                "platform_machine": machine,
                "platform_python_implementation": "CPython",
                "platform_system": "Linux",
                "python_full_version": f"{python}.{micro}",
                "python_version": python,
                "sys_platform": "linux",
            }


def locks() -> dict[str, Path]:
    """Every lock by the environment that it makes."""
    found = {}
    for path in sorted(LOCKS.rglob("*.txt")):
        place = path.relative_to(LOCKS)
        if place.as_posix() not in PARTS:
            found["-".join(place.with_suffix("").parts)] = path
    return found


def read(path: Path) -> list[Pin]:
    """The pins of a lock.

    Raises SupplyError at the first line that could bring anything else than what was locked.
    """
    pins = []
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                pins.append(_pin(line))
            except ValueError as error:
                raise SupplyError(f"{path.name}: {error}. Run: make lock") from error
    return pins


def _pin(line: str) -> Pin:
    hashes = tuple(_HASH.findall(line))
    said = _HASH.sub("", line).strip()
    try:
        requirement = Requirement(said)
    except InvalidRequirement as error:
        raise ValueError(f"this is no pin: {said}") from error
    exact = re.fullmatch(r"==([^*,]+)", str(requirement.specifier))
    if requirement.url or exact is None:
        raise ValueError(f"{said} names no exact version")
    if not hashes:
        raise ValueError(f"{said} has no hash")
    return Pin(
        name=canonicalize_name(requirement.name),
        version=exact[1],
        marker=str(requirement.marker or ""),
        hashes=hashes,
    )


def on_hosts(path: Path) -> list[Pin]:
    """The pins of a lock that some host installs."""
    return [pin for pin in read(path) if pin.pythons]
