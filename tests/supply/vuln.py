"""Known vulnerabilities in what the locks pin, from a database on this machine: `make vuln DB=…`.

No network. The database is OSV's own export, laid as osv-scanner lays it: PyPI/all.zip and
npm/all.zip.
Exit status 0: none; 1: found; 2: no answer, since the database or a waiver is not fit.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from datetime import datetime, timezone
from pathlib import Path

from tests.supply import DATA, SupplyError, findings, locks, osv, parts, report, waivers

EXPORT = "https://osv-vulnerabilities.storage.googleapis.com"
ECOSYSTEMS = (osv.PYPI, osv.NPM)
MAX_AGE_DAYS = 30
NONE, FOUND, NO_ANSWER = 0, 1, 2


def inventory() -> dict[osv.Package, tuple[str, ...]]:
    """What is pinned, and which environments use it."""
    used: dict[osv.Package, set[str]] = {}
    for name, path in locks.locks().items():
        for pin in locks.on_hosts(path):
            used.setdefault(osv.Package(osv.PYPI, pin.name, pin.version), set()).add(name)
    npm = {"page": parts.packed(), "build": [parts.bundler()], "pictures": parts.pictures()}
    for name, found in npm.items():
        for one in found:
            used.setdefault(osv.Package(osv.NPM, one.name, one.version), set()).add(name)
    return {package: tuple(sorted(names)) for package, names in used.items()}


def read(
    folder: Path, wanted: set[tuple[str, str]], now: datetime, max_age_days: int
) -> osv.Database:
    """Both exports as one database.

    Raises SupplyError with the command that fetches them where one is missing, damaged or old.
    """
    whole = osv.Database(newest=now, records=0)
    for ecosystem in ECOSYSTEMS:
        path = folder / ecosystem / "all.zip"
        try:
            one = osv.load(path, wanted)
            age = now - one.newest
            if age.days > max_age_days:
                raise SupplyError(
                    f"{path} is too old: its newest record is of {one.newest:%Y-%m-%d}, "
                    f"{age.days} days ago; at most {max_age_days} are allowed (--max-age-days)"
                )
        except SupplyError as error:
            raise SupplyError(
                f"{error}. To fetch it, where there is a network:\n  {fetch(path)}"
            ) from error
        whole.newest = min(whole.newest, one.newest)
        whole.records += one.records
        whole.about |= one.about
    return whole


def fetch(path: Path) -> str:
    """The command that fetches an export to where it is looked for."""
    url = f"{EXPORT}/{path.parent.name}/all.zip"
    return f"curl --fail --create-dirs --output {shlex.quote(str(path))} {url}"


def main(argv: list[str] | None = None, now: datetime | None = None) -> int:
    parser = argparse.ArgumentParser(prog="vuln", description="Known vulnerabilities, offline.")
    parser.add_argument("db", type=Path, help="folder with PyPI/all.zip and npm/all.zip of OSV")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.add_argument("--max-age-days", type=int, default=MAX_AGE_DAYS, metavar="N")
    parser.add_argument("--waivers", type=Path, default=DATA / "waivers.yml", metavar="FILE")
    args = parser.parse_args(argv)
    now = now or datetime.now(timezone.utc)
    try:
        waived = waivers.read(args.waivers)
        packages = inventory()
        wanted = {package.key for package in packages}
        database = read(args.db, wanted, now, args.max_age_days)
        found = findings.search(packages, database.about)
    except SupplyError as error:
        print(f"vuln: {error}", file=sys.stderr)
        return NO_ANSWER
    counted: report.Rows = []
    accepted: report.Rows = []
    used = set()
    for finding in found:
        answers = waivers.answering(waived, finding.ids)
        used |= set(answers)
        valid = [waiver for waiver in answers if waiver.until >= now.date()]
        if valid:
            accepted.append((finding, valid[0]))
        else:
            counted.append((finding, answers[0] if answers else None))
    unused = [waiver for waiver in waived if waiver not in used]
    say = report.as_json if args.json else report.as_table
    print(say(database, len(packages), counted, accepted, unused))
    return FOUND if counted else NONE


if __name__ == "__main__":
    sys.exit(main())
