"""What `make vuln` prints: lines for people, JSON for programs."""

from __future__ import annotations

import json
from typing import Any

from tests.supply import osv, waivers
from tests.supply.findings import Finding

Rows = list[tuple[Finding, waivers.Waiver | None]]


def as_json(
    database: osv.Database,
    packages: int,
    found: Rows,
    accepted: Rows,
    unused: list[waivers.Waiver],
) -> str:
    def row(finding: Finding, waiver: waivers.Waiver | None) -> dict[str, Any]:
        return {
            "ecosystem": finding.package.ecosystem,
            "package": finding.package.name,
            "version": finding.package.version,
            "used_by": finding.used_by,
            "ids": finding.ids,
            "summary": finding.summary,
            "severity": finding.severity,
            "fixed": finding.fixed,
            "unclear": finding.unclear,
            "waiver": None if waiver is None else _waiver(waiver),
        }

    return json.dumps(
        {
            "packages": packages,
            "records": database.records,
            "newest_record": database.newest.isoformat(),
            "found": [row(*pair) for pair in found],
            "waived": [row(*pair) for pair in accepted],
            "unused_waivers": [_waiver(waiver) for waiver in unused],
        },
        indent=2,
        ensure_ascii=False,
    )


def _waiver(waiver: waivers.Waiver) -> dict[str, str]:
    return {**vars(waiver), "until": waiver.until.isoformat()}


def as_table(
    database: osv.Database,
    packages: int,
    found: Rows,
    accepted: Rows,
    unused: list[waivers.Waiver],
) -> str:
    lines = []
    for rows, word in ((found, "its waiver ended on"), (accepted, "waived until")):
        for finding, waiver in rows:
            lines += _lines(finding)
            if waiver is not None:
                lines.append(f"    {word} {waiver.until}: {waiver.reason} ({waiver.by})")
    lines += [f"The waiver for {waiver.id} matches nothing: remove it." for waiver in unused]
    lines.append(
        f"{len(found)} found, {len(accepted)} waived, in {packages} packages; "
        f"{database.records} records up to {database.newest:%Y-%m-%d}."
    )
    return "\n".join(lines)


def _lines(finding: Finding) -> list[str]:
    package = finding.package
    mended = f"mended in {', '.join(finding.fixed)}" if finding.fixed else "not mended yet"
    if finding.unclear:
        mended = "its range cannot be compared: read the record"
    severity = f"{finding.severity}; " if finding.severity else ""
    return [
        f"{package.name} {package.version} ({package.ecosystem}; {', '.join(finding.used_by)})",
        f"    {' '.join(finding.ids)}: {finding.summary or 'no summary'}",
        f"    {severity}{mended}",
    ]
