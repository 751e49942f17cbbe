"""The audit's frame: which hosts, what is expected of them, and the table at the end.

    pytest tests/audit --inventory=inventories/lan

Without --inventory it takes ANSIBLE_INVENTORY. Nothing on the hosts is changed; one short text is
spoken on each edge. A host's user must be root or able to use sudo without a password.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Generator
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

from tests.audit import connection
from tests.audit.expected import REPOSITORY, Expected, ask_ansible
from tests.audit.probe import Answer, Probe

HERE = Path(__file__).parent
REPORT = REPOSITORY / "build/audit.xml"

EXPECTED = pytest.StashKey[Expected]()
CONNECTIONS = pytest.StashKey[Path | None]()
ROWS = pytest.StashKey[list["Row"]]()


class Row:
    """One line of the table."""

    def __init__(self, item: pytest.Item) -> None:
        control = item.get_closest_marker("control")
        self.group = item.path.stem.removeprefix("test_")
        self.id = control.args[0] if control else "-"
        self.why = control.kwargs.get("why", "") if control else ""
        self.check = item.name.partition("[")[0].removeprefix("test_").replace("_", " ")
        spec = getattr(item, "callspec", None)
        self.host = spec.params.get("host_name", "-") if spec else "-"
        self.result = "ok"
        self.evidence = ""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The inventories to audit."""
    parser.addoption(
        "--inventory",
        action="append",
        default=[],
        metavar="PATH",
        help="an Ansible inventory to audit; may be given several times, later ones win",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; alone, the audit writes a JUnit file and shows its own table only."""
    config.addinivalue_line(
        "markers", "control(id, why): the stable id of a check, and what it protects from"
    )
    config.addinivalue_line("markers", "group(name): the inventory group whose hosts are checked")
    config.stash[ROWS] = []
    here = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    if all(path == HERE or HERE in path.parents for path in here):
        config.option.xmlpath = config.option.xmlpath or str(REPORT)
        if config.option.tbstyle == "auto":
            config.option.tbstyle = "no"
            config.option.reportchars = ""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each check on every host of its group."""
    if "host_name" not in metafunc.fixturenames:
        return
    config = metafunc.config
    if EXPECTED not in config.stash:
        given = config.getoption("--inventory")
        if given:
            os.environ["ANSIBLE_INVENTORY"] = ",".join(str(Path(path).resolve()) for path in given)
        if not os.environ.get("ANSIBLE_INVENTORY"):
            raise pytest.UsageError("name an inventory: --inventory=inventories/<tier>")
        os.environ.setdefault("ANSIBLE_CONFIG", str(REPOSITORY / "ansible.cfg"))
        # testinfra calls ansible-inventory by name; ours lies beside this Python.
        os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        config.stash[EXPECTED] = ask_ansible(os.environ["ANSIBLE_INVENTORY"])
        config.stash[CONNECTIONS] = connection.share(config.stash[EXPECTED].values.values())
    marker = metafunc.definition.get_closest_marker("group")
    group = marker.args[0] if marker else "all"
    hosts = config.stash[EXPECTED].groups.get(group, [])
    metafunc.parametrize("host_name", hosts, scope="session")


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the connections."""
    folder = config.stash.get(CONNECTIONS, None)
    if folder:
        connection.hang_up(folder)
        del os.environ[connection.ARGUMENTS.upper()]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Carry id and reason into the JUnit file."""
    for item in items:
        control = item.get_closest_marker("control")
        if control:
            item.user_properties.append(("control", control.args[0]))
            item.user_properties.append(("why", control.kwargs["why"]))


@pytest.fixture(scope="session")
def expected(pytestconfig: pytest.Config) -> Expected:
    """What the inventory says, of all hosts."""
    return pytestconfig.stash[EXPECTED]


@pytest.fixture(scope="session")
def host(host_name: str) -> Host:
    """The host under audit, as root."""
    found: Host = testinfra.get_host(f"ansible://{host_name}")
    if found.run("id -u").stdout.strip() != "0":
        found = testinfra.get_host(f"ansible://{host_name}", sudo=True)
    return found


@pytest.fixture(scope="session")
def values(expected: Expected, host_name: str) -> dict[str, object]:
    """The host's variables as its roles see them."""
    return expected.values[host_name]


@pytest.fixture(scope="session")
def door(host: Host, values: dict[str, object]) -> Probe:
    """The front door, asked from the host itself: it may listen there only."""
    return Probe.through(host, values["edge_listen"])


@pytest.fixture(scope="session")
def speech(door: Probe) -> Answer:
    """One real synthesis through the front door; without a worker it would wait for one."""
    ready = door.ask("/readyz")
    if ready.status != 200:
        pytest.fail(f"not tried, for /readyz {ready.brief}")
    return door.speak()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note the outcome for the table."""
    report = yield
    if "host_name" in getattr(item, "fixturenames", ()) and HERE in item.path.parents:
        rows = item.config.stash[ROWS]
        if report.when == "setup":
            rows.append(Row(item))
        if report.failed:
            rows[-1].result = "FAIL" if report.when == "call" else "ERROR"
            rows[-1].evidence = str(call.excinfo.value) if call.excinfo else report.longreprtext
        elif report.skipped:
            rows[-1].result = "skipped"
            rows[-1].evidence = str(call.excinfo.value) if call.excinfo else ""
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """The table: group, id, check, host, result; below a failure its evidence."""
    rows = config.stash[ROWS]
    if not rows:
        return
    write = terminalreporter.write_line
    heads = ("group", "id", "check", "host", "result")
    cells = [(row.group, row.id, row.check, row.host, row.result) for row in rows]
    widths = [max(_width(line[i]) for line in [heads, *cells]) for i in range(len(heads))]
    write("")
    write(_line(heads, widths), bold=True)
    for row, line in zip(rows, cells, strict=True):
        colour = {"ok": "green", "skipped": "yellow"}.get(row.result, "red")
        write(_line(line, widths), **{colour: True})
        if row.result != "ok":
            for text in [*_evidence(row.evidence), f"why: {row.why}"]:
                write(f"    {text}")
    failed = sum(row.result not in ("ok", "skipped") for row in rows)
    write(f"{len(rows)} checks, {failed} failed", **{"red" if failed else "green": True})


def _evidence(text: str) -> list[str]:
    """What a check found, without what pytest adds of its own."""
    lines = text.partition("\nassert ")[0].splitlines()
    return [line[:300] for line in lines[:12]] or ["no evidence was given"]


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    pairs = zip(cells, widths, strict=True)
    return "  ".join(cell + " " * (width - _width(cell)) for cell, width in pairs).rstrip()
