"""Vulnerabilities found: records that are one under several names, of the packages in use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.supply import osv


@dataclass(frozen=True)
class Finding:
    """One vulnerability of one package, under all its names."""

    package: osv.Package
    used_by: tuple[str, ...]
    ids: tuple[str, ...]
    summary: str
    severity: str
    fixed: tuple[str, ...]
    unclear: bool


def search(
    packages: Mapping[osv.Package, tuple[str, ...]],
    about: Mapping[tuple[str, str], list[Mapping[str, Any]]],
) -> list[Finding]:
    """The vulnerabilities of packages; records that are aliases of each other are one."""
    found = []
    for package, used_by in packages.items():
        verdicts = [osv.judge(package, record) for record in about.get(package.key, [])]
        for group in _grouped([verdict for verdict in verdicts if verdict]):
            found.append(_finding(package, used_by, group))
    return sorted(found, key=lambda one: (one.package.name, one.package.version, one.ids))


def _grouped(verdicts: Iterable[osv.Verdict]) -> list[list[osv.Verdict]]:
    groups: list[tuple[set[str], list[osv.Verdict]]] = []
    for verdict in verdicts:
        ids, members = set(verdict.ids), [verdict]
        for group in [group for group in groups if group[0] & ids]:
            groups.remove(group)
            ids |= group[0]
            members = group[1] + members
        groups.append((ids, members))
    return [members for _, members in groups]


def _finding(package: osv.Package, used_by: tuple[str, ...], group: list[osv.Verdict]) -> Finding:
    records = [verdict.record for verdict in group]
    own = {record["id"] for record in records}
    others = {name for verdict in group for name in verdict.ids} - own
    severities = [
        str((record.get("database_specific") or {}).get("severity") or "") for record in records
    ]
    vectors = [one["score"] for record in records for one in record.get("severity") or []]
    fixed = {version for verdict in group for version in verdict.fixed}
    return Finding(
        package=package,
        used_by=used_by,
        ids=(*sorted(own), *sorted(others)),
        summary=next((record["summary"] for record in records if record.get("summary")), ""),
        severity=next((text for text in [*severities, *vectors] if text), ""),
        fixed=tuple(sorted(fixed, key=osv.PARSERS[package.ecosystem])),
        unclear=all(verdict.unclear for verdict in group),
    )
