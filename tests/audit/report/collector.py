"""Gathers the rows of one audit, and writes its three files."""

from __future__ import annotations

import base64
import datetime
import re
from collections.abc import Generator, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tests.audit.expected import REPOSITORY, Expected
from tests.audit.report import catalogue, render
from tests.audit.report.evidence import Recorder, folded
from tests.audit.report.model import CONTROLS, RESULTS, Document, Exchange, Row
from tests.audit.report.redaction import Redactor
from tests.audit.report.waivers import Waivers

FORMAT = 1
HTML, JSON, JUNIT = "report.html", "report.json", "junit.xml"
# What is shown of a command and of each of its answers.
COMMAND, PRINTED, FOUND = 600, 2_000, 6_000
PACKAGES = ("systemd", "nginx", "redis-server", "prometheus", "prometheus-alertmanager", "grafana")
# Who the host is; and what must not be in the report, which the redactor alone gets to see.
FACTS = (
    '. /etc/os-release; echo "system=$PRETTY_NAME"; echo "kernel=$(uname -r)"; '
    'echo "release=$(basename "$(readlink /opt/cosyhost/current)")"; '
    f"dpkg-query --show --showformat='${{Package}}=${{Version}}\\n' {' '.join(PACKAGES)} 2>&-; "
    "for file in $(find /etc/cosyhost/credentials -type f 2>&-); do "
    'echo "credential=$(base64 --wrap=0 "$file")"; done; '
    "sed -n 's/^requirepass //p' /etc/redis/redis-cosyhost.conf 2>&- | base64 --wrap=0 | "
    "sed 's/^/credential=/'"
)


class Collector:
    """What is known of an audit while it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recorder = Recorder()
        self.redactor = Redactor()
        self.rows: list[Row] = []
        # Of the check that runs: a fixture of the session does not know it.
        self.host = "-"
        self.waivers = Waivers((), datetime.date.today())
        self._hosts: dict[str, dict[str, str]] = {}
        self._began = datetime.datetime.now(datetime.UTC)

    # While it runs

    def watch(self, name: str, host: Any) -> None:
        """Ask a host who it is, then hear what the checks ask it."""
        if name in self._hosts:
            return
        facts = self._hosts[name] = {"name": name}
        for line in host.run(FACTS).stdout.splitlines():
            key, _, value = line.partition("=")
            if key == "credential":
                text = base64.b64decode(value).decode("utf-8", "replace")
                self.redactor.add_credential(text)
            elif value and re.fullmatch(r"[a-z-]+", key):
                facts[key] = value
        self.recorder.listen(host.backend)

    def begin(self, item: pytest.Item) -> Row:
        """A row for a check that is about to run."""
        marker = item.get_closest_marker("control")
        assert marker is not None
        self.host = host_of(item)
        item.user_properties += [
            ("id", marker.args[0]), ("control", marker.args[1]), ("hosts", self.host),
            ("why", marker.kwargs["why"]), ("why_zh", marker.kwargs["zh"]),
        ]  # fmt: skip
        self.rows.append(
            Row(
                id=marker.args[0], control=marker.args[1], host=self.host,
                check=item.name.partition("[")[0].removeprefix("test_").replace("_", " "),
                why=marker.kwargs["why"], why_zh=marker.kwargs["zh"],
            )
        )  # fmt: skip
        return self.rows[-1]

    def note(
        self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
    ) -> None:
        """Take in one phase of a check, and let the waivers judge it; pytest gets what is left."""
        row = self.rows[-1]
        row.seconds += report.duration
        report.sections = [(name, self.redactor.clean(text)) for name, text in report.sections]
        if report.failed:
            excinfo = call.excinfo
            finding = excinfo and excinfo.errisinstance((AssertionError, pytest.fail.Exception))
            row.result = "fail" if finding else "error"
            row.found = brief(str(excinfo.value) if excinfo else report.longreprtext)
            self.waivers.judge(row)
            row.found = self.redactor.clean(row.found)
            # pytest's own account shows arguments, and passwords are among them.
            report.longrepr = row.found
            if row.result == "waived":
                assert row.waiver is not None
                said = f"waived until {row.waiver['until']} by {row.waiver['by']}"
                item.user_properties.append(("waiver", f"{said}: {row.waiver['reason']}"))
                report.outcome = "skipped"
                report.longrepr = (str(item.path), 0, f"{said}: {row.found}")
        elif report.skipped and call.excinfo:
            row.result, row.found = "skip", self.redactor.clean(str(call.excinfo.value))
            report.longrepr = (str(item.path), 0, row.found)

    def prove(self, item: pytest.Item, own: Iterable[Exchange]) -> None:
        """Give a row what was heard for it."""
        names = getattr(item, "fixturenames", ())
        told = self.recorder.of_fixtures(item.nodeid, names, self.host)
        self.rows[-1].evidence = [*told, *own]

    # pytest asks a plugin, not a conftest, about fixtures of the session.
    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any]
    ) -> Generator[None, object, object]:
        """What a fixture asks a host is evidence of every check that uses it."""
        with self.recorder.fixture(fixturedef.baseid, fixturedef.argname, self.host):
            return (yield)

    # At its end

    def document(self, expected: Expected, inventories: Iterable[Path]) -> Document:
        """The report as JSON has it; tests/audit/report/schema.json says what is what."""
        now = datetime.datetime.now(datetime.UTC)
        counts = {name: sum(row.result == name for row in self.rows) for name in RESULTS}
        ran = {row.id for row in self.rows}
        tiers = {str(values.get("service_tier", "")) for values in expected.values.values()}
        document: Document = {
            "format": FORMAT,
            "ok": not any(row.bad for row in self.rows),
            "tiers": sorted(tiers - {""}),
            "inventories": [_name(path) for path in inventories],
            "began": self._began.isoformat(timespec="seconds"),
            "seconds": round((now - self._began).total_seconds(), 1),
            "tools": {
                name: metadata.version(name)
                for name in ("ansible-core", "pytest", "pytest-testinfra")
            },
            "hosts": [self._hosts.get(name, {"name": name}) for name in sorted(expected.values)],
            "summary": counts,
            "controls": [
                {"id": id, "en": en, "zh": zh, "rows": [r.id for r in self.rows if r.control == id]}
                for id, (en, zh) in CONTROLS.items()
            ],
            "rows": [self._shown(row) for row in self.rows],
            "waivers": self.waivers.states(self.rows),
            "not_run": sorted({entry.id for entry in catalogue.entries()} - ran),
        }
        found: Document = self.redactor.clean_all(document)
        return found

    def write(self, document: Document) -> None:
        """JSON for programs, HTML for people; pytest itself writes the JUnit file."""
        (self.folder / JSON).write_text(render.as_json(document), encoding="utf-8")
        (self.folder / HTML).write_text(render.as_html(document), encoding="utf-8")

    def _shown(self, row: Row) -> Document:
        """A row without secrets first, then cut: half a secret would not be found any more."""
        clean = self.redactor.clean
        return {
            "id": row.id, "control": row.control, "check": row.check, "host": row.host,
            "why": {"en": row.why, "zh": row.why_zh},
            "result": row.result, "found": cut(clean(row.found), FOUND),
            "seconds": round(row.seconds, 2), "waiver": row.waiver,
            "evidence": [
                {
                    "command": cut(clean(one.command), COMMAND), "rc": one.rc,
                    "stdout": cut(clean(one.stdout), PRINTED),
                    "stderr": cut(clean(one.stderr), PRINTED), "times": one.times,
                }
                for one in folded(row.evidence)
            ],
        }  # fmt: skip


def host_of(item: pytest.Item) -> str:
    """The host that a check is about; `-` where its group has none."""
    spec = getattr(item, "callspec", None)
    name = spec.params.get("host_name") if spec else None
    return name if isinstance(name, str) else "-"


def brief(text: str) -> str:
    """What a check found, without what pytest adds of its own."""
    return text.partition("\nassert ")[0].strip() or "no evidence was given"


def cut(text: str, most: int) -> str:
    """The beginning of a text, and how much more there was."""
    text = text.rstrip()
    return text if len(text) <= most else f"{text[:most]}\n… {len(text) - most} more characters"


def _name(path: Path) -> str:
    """An inventory by its place in the project; elsewhere by its own name."""
    path = path.resolve()
    return str(path.relative_to(REPOSITORY)) if path.is_relative_to(REPOSITORY) else path.name
