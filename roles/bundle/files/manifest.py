"""The bundle's manifest: `open`, `write` and `verify DIR`, run by Ansible's own Python.

MANIFEST.sha256 is what `sha256sum --check` reads. It is written last, so a bundle without it is
half made. All verbs print one JSON object; `verify` says under `code` and `what` what is wrong.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

NAME = "MANIFEST.sha256"
ABOUT = "bundle.json"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_BLOCK_BYTES = 1 << 20
_SHOWN = 5


class WrongBundleError(Exception):
    """A bundle that can't be installed from: a code, and what is wrong with it."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code


def digest(path: Path) -> str:
    """The file's SHA-256 in hex."""
    state = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            state.update(block)
    return state.hexdigest()


def contents(folder: Path) -> list[str]:
    """Every file below the folder but the manifest, and nothing hidden, sorted."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != NAME)
    names = (path.relative_to(folder) for path in found)
    return sorted(n.as_posix() for n in names if not any(part[0] == "." for part in n.parts))


def reopen(folder: Path) -> dict[str, Any]:
    """Make it half made again, without what is no longer as its manifest says."""
    damaged = []
    if (folder / NAME).is_file():
        lines = (folder / NAME).read_text(encoding="utf-8").splitlines()
        listed = {match[2]: match[1] for match in map(_LINE.fullmatch, lines) if match}
        there = [name for name in contents(folder) if name in listed]
        damaged = [name for name in there if digest(folder / name) != listed[name]]
        for name in [NAME, *damaged]:
            (folder / name).unlink()
    return {"damaged": damaged}


def write(folder: Path) -> dict[str, Any]:
    """Hash everything and write the manifest, whole or not at all."""
    (folder / NAME).unlink(missing_ok=True)
    names = contents(folder)
    draft = folder / f".{NAME}"
    draft.write_text("".join(f"{digest(folder / n)}  {n}\n" for n in names), encoding="utf-8")
    draft.replace(folder / NAME)
    return {"files": len(names), "bytes": sum((folder / name).stat().st_size for name in names)}


def verify(folder: Path) -> dict[str, Any]:
    """Hash everything and compare; then see that every lock of the service finds its wheels.

    Raises:
        WrongBundleError: INCOMPLETE, MANIFEST or WHEELS.
    """
    if not (folder / NAME).is_file():
        raise WrongBundleError("INCOMPLETE", f"{folder / NAME}")
    listed = {}
    for line in (folder / NAME).read_text(encoding="utf-8").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise WrongBundleError("MANIFEST", f"{NAME}: {line[:80]!r}")
        listed[match[2]] = match[1]
    there = set(contents(folder))
    wrong = [f"{name} (missing)" for name in sorted(listed.keys() - there)]
    wrong += [f"{name} (not listed)" for name in sorted(there - listed.keys())]
    same = sorted(there & listed.keys())
    wrong += [f"{name} (changed)" for name in same if digest(folder / name) != listed[name]]
    if wrong:
        raise WrongBundleError("MANIFEST", _few(wrong))
    about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    wanted = needs(folder, about["markers"])
    lacking = [pin for pin, hashes in wanted if hashes.isdisjoint(listed.values())]
    if lacking:
        raise WrongBundleError("WHEELS", _few(lacking))
    sizes = {name: (folder / name).stat().st_size for name in same}
    return {"about": about, "sizes": sizes, "bytes": sum(sizes.values())}


def needs(folder: Path, markers: dict[str, str]) -> Iterator[tuple[str, set[str]]]:
    """Each pin the target needs, with the hashes one of its files must have.

    `markers` is the target's marker environment, as pip on such a host gave it (PEP 508).
    """
    for wheel in sorted((folder / "service").glob("*.whl")):
        with zipfile.ZipFile(wheel) as packed:
            for name in packed.namelist():
                if re.fullmatch(r"cosyhost/requirements/\w+\.txt", name):
                    yield from _pins(packed.read(name).decode(), markers)
    for lock in sorted((folder / "locks").glob("*.txt")):
        yield from _pins(lock.read_text(encoding="utf-8"), markers)


def _pins(lock: str, markers: dict[str, str]) -> Iterator[tuple[str, set[str]]]:
    for entry in lock.replace("\\\n", " ").splitlines():
        if not re.match("[A-Za-z0-9]", entry):
            continue
        pin = Requirement(entry.partition("--hash=")[0].strip())
        if pin.marker is None or pin.marker.evaluate(markers):
            yield f"{pin.name}{pin.specifier}", set(_HASH.findall(entry))


def _few(wrong: list[str]) -> str:
    more = f" (+{len(wrong) - _SHOWN})" if len(wrong) > _SHOWN else ""
    return ", ".join(wrong[:_SHOWN]) + more


def main(arguments: list[str]) -> int:
    """`manifest.py open|write|verify DIR`."""
    verb = {"open": reopen, "write": write, "verify": verify}[arguments[0]]
    try:
        result = verb(Path(arguments[1]))
    except WrongBundleError as error:
        result = {"code": error.code, "what": str(error)}
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
