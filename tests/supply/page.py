"""docs/licences.md, written from the locks and what is known of licences: `make licences`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from tests.supply import ROOT, SupplyError, licences, locks, parts, spdx

PAGE = ROOT / "docs/licences.md"
_HEAD = """\
# Licences

Written by `make licences`; not edited by hand. What is pinned, who uses it, and its licence as SPDX
writes it. Where that was seen is in `files/supply/`: `licences.json` for what packages say of
themselves, `judged.yml` for what people read. It is no legal advice.

Installing on your own hosts passes nothing on. An offline bundle that you give to somebody does:
then the terms of everything in its `wheels/`, `debs/`, `git/` and `model/` count, above all those
in the first table.
"""
_ASKS = {
    spdx.STRONG: "copyleft: who gets the program gets its source, and what is made from it too",
    spdx.WEAK: "weak copyleft: the same for the library itself, not for what uses it",
    spdx.RESTRICTED: "the owner's own terms: read them before passing it on",
}


@dataclass(frozen=True)
class Row:
    """One part as the page lists it."""

    name: str
    versions: tuple[str, ...]
    licence: licences.Licence
    used_by: tuple[str, ...]


def rows() -> list[Row]:
    """Everything that is pinned, in the page's order."""
    used: dict[tuple[str, licences.Licence], tuple[set[str], set[str]]] = {}

    def add(name: str, version: str, licence: licences.Licence, by: str) -> None:
        versions, users = used.setdefault((name, licence), (set(), set()))
        versions.update({version} if version else ())
        users.add(by)

    for environment, path in locks.locks().items():
        for pin in locks.on_hosts(path):
            add(pin.name, pin.version, licences.python(pin), environment)
            for what, licence in licences.inside(pin.name):
                add(f"{what} (inside {pin.name})", "", licence, environment)
    for one in (*parts.packed(), parts.bundler()):
        by = "build" if one == parts.bundler() else "page"
        add(one.name, one.version, licences.judged("npm", one.name), by)
    for commit in parts.upstream():
        add(commit.name, commit.commit[:12], licences.judged("upstream", commit.name), "cosyvoice")
    model = parts.model()["name"]
    add(model, "", licences.judged("upstream", model), "engines")
    for name in parts.debian():
        add(name, "", licences.judged("debian", name), "Debian")
    return [
        Row(name, tuple(sorted(versions)), licence, tuple(sorted(users)))
        for (name, licence), (versions, users) in sorted(
            used.items(), key=lambda item: (item[0][0].lower(), item[0][1].licence)
        )
    ]


def text() -> str:
    """The page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    found = rows()
    yield _HEAD
    yield "## What asks for more than its notice\n"
    for kind in (spdx.STRONG, spdx.WEAK, spdx.RESTRICTED):
        yield f"### {_ASKS[kind]}\n"
        yield from _table([row for row in found if row.licence.kind == kind])
        yield ""
    yield "## The rest: keep its notice\n"
    yield from _table([row for row in found if row.licence.kind == spdx.PERMISSIVE])


def _table(found: list[Row]) -> Iterator[str]:
    yield "| part | version | licence | used by |"
    yield "|---|---|---|---|"
    for row in found:
        cells = (row.name, ", ".join(row.versions), row.licence.licence, ", ".join(row.used_by))
        yield "| " + " | ".join(cells) + " |"


def main() -> int:
    pins = [pin for path in locks.locks().values() for pin in locks.on_hosts(path)]
    try:
        licences.refresh(pins)
        PAGE.write_text(text(), encoding="utf-8")
    except SupplyError as error:
        print(f"licences: {error}", file=sys.stderr)
        return 1
    print(PAGE.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
