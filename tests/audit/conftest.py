"""The audit's frame: which hosts, what is expected of them, and the report at the end.

    pytest tests/audit --inventory=inventories/lan [--report=DIR]

Without --inventory it takes ANSIBLE_INVENTORY. Nothing on the hosts is changed; one short text is
spoken on each edge. A host's user must be root or able to use sudo without a password.
"""

from __future__ import annotations

import datetime
import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

from tests.audit import connection
from tests.audit.expected import REPOSITORY, Expected, ask_ansible
from tests.audit.probe import Answer, Probe
from tests.audit.report import catalogue, collector, table, waivers
from tests.audit.report.collector import Collector
from tests.audit.report.model import Exchange

HERE = Path(__file__).parent
REPORT = REPOSITORY / "build/audit"

EXPECTED = pytest.StashKey[Expected]()
CONNECTIONS = pytest.StashKey[Path | None]()
COLLECTOR = pytest.StashKey[Collector]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The inventories to audit, and where the report goes."""
    parser.addoption(
        "--inventory",
        action="append",
        default=[],
        metavar="PATH",
        help="an Ansible inventory to audit; may be given several times, later ones win",
    )
    parser.addoption(
        "--report", default=str(REPORT), metavar="DIR", help="the report's folder: build/audit"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, read the waivers; alone, the audit shows its own table only."""
    config.addinivalue_line(
        "markers", "control(id, control, why, zh): a row's stable id, and what it protects from"
    )
    config.addinivalue_line("markers", "group(name): the inventory group whose hosts are checked")
    found = config.stash[COLLECTOR] = Collector(Path(config.getoption("--report", str(REPORT))))
    config.pluginmanager.register(found)
    here = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    if not all(path == HERE or HERE in path.parents for path in here):
        return
    try:
        ids = {entry.id for entry in catalogue.entries()}
        listed = waivers.beside(_inventories(config))
        found.waivers = waivers.read(listed, ids, datetime.date.today())
        found.folder.mkdir(parents=True, exist_ok=True)
        # An audit that ends before its report must not leave an older one in its place.
        for name in (collector.HTML, collector.JSON, collector.JUNIT):
            (found.folder / name).unlink(missing_ok=True)
    except (waivers.WaiverError, OSError, ValueError) as error:
        raise pytest.UsageError(str(error)) from error
    config.option.xmlpath = config.option.xmlpath or str(found.folder / collector.JUNIT)
    if config.option.tbstyle == "auto":
        config.option.tbstyle = "no"
        config.option.reportchars = ""


def _inventories(config: pytest.Config) -> list[Path]:
    given = config.getoption("--inventory") or os.environ.get("ANSIBLE_INVENTORY", "").split(",")
    return [Path(path).resolve() for path in given if path]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each check on every host of its group."""
    if "host_name" not in metafunc.fixturenames:
        return
    config = metafunc.config
    if EXPECTED not in config.stash:
        os.environ["ANSIBLE_INVENTORY"] = ",".join(map(str, _inventories(config)))
        if not os.environ["ANSIBLE_INVENTORY"]:
            raise pytest.UsageError("name an inventory: --inventory=inventories/<tier>")
        os.environ.setdefault("ANSIBLE_CONFIG", str(REPOSITORY / "ansible.cfg"))
        # testinfra calls ansible-inventory by name; ours lies beside this Python.
        os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        expected = config.stash[EXPECTED] = ask_ansible(os.environ["ANSIBLE_INVENTORY"])
        config.stash[CONNECTIONS] = connection.share(expected.values.values())
        for values in expected.values.values():
            config.stash[COLLECTOR].redactor.add_variables(values)
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
    """Refuse a check that the report could not name."""
    for item in items:
        if _ours(item):
            control = item.get_closest_marker("control")
            lacks = catalogue.wrong(control.args, control.kwargs) if control else "no control"
            if lacks:
                raise pytest.UsageError(f"{item.nodeid}: {lacks}")


def _ours(item: pytest.Item) -> bool:
    return HERE in item.path.parents


@pytest.fixture(scope="session")
def expected(pytestconfig: pytest.Config) -> Expected:
    """What the inventory says, of all hosts."""
    return pytestconfig.stash[EXPECTED]


@pytest.fixture(scope="session")
def host(host_name: str, pytestconfig: pytest.Config) -> Host:
    """The host under audit, as root."""
    found: Host = testinfra.get_host(f"ansible://{host_name}")
    if found.run("id -u").stdout.strip() != "0":
        found = testinfra.get_host(f"ansible://{host_name}", sudo=True)
    pytestconfig.stash[COLLECTOR].watch(host_name, found)
    return found


@pytest.fixture(scope="session")
def values(expected: Expected, host_name: str) -> dict[str, object]:
    """The host's variables as its roles see them."""
    return expected.values[host_name]


@pytest.fixture(scope="session")
def door(host: Host, values: dict[str, object]) -> Probe:
    """The front door, asked from the host itself: it may listen there only."""
    return Probe.through(host, values)


@pytest.fixture(scope="session")
def speech(door: Probe) -> Answer:
    """One real synthesis through the front door; without a worker it would wait for one."""
    ready = door.ask("/readyz")
    if ready.status != 200:
        pytest.fail(f"not tried, for /readyz {ready.brief}")
    return door.speak()


@pytest.fixture
def tell(pytestconfig: pytest.Config) -> Callable[[str, str], None]:
    """Give evidence that no command of the host printed: what was asked, what it said."""
    recorder = pytestconfig.stash[COLLECTOR].recorder
    return lambda asked, said: recorder.add(Exchange(asked, 0, said))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Hear what a check asks its host, from its beginning to its end."""
    if not _ours(item):
        return (yield)
    found = item.config.stash[COLLECTOR]
    found.begin(item)
    with found.recorder.frame() as own:
        outcome = yield
    found.prove(item, own)
    return outcome


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note the outcome for the report."""
    report = yield
    if _ours(item):
        item.config.stash[COLLECTOR].note(item, call, report)
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """The report's files, and the table."""
    found = config.stash[COLLECTOR]
    if not found.rows or EXPECTED not in config.stash:
        return
    document = found.document(config.stash[EXPECTED], _inventories(config))
    found.write(document)
    table.show(terminalreporter.write_line, found.rows, document["waivers"])
    terminalreporter.write_line(f"report: {found.folder / collector.HTML}")
