"""Three tiers on real hosts, provisioned once for all tests. Needs root, and about 10 minutes.

pytest tests/e2e [--keep-hosts]
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests import prompts
from tests.audit.connection import hang_up
from tests.e2e.tier import BUILD, LOCKS, ROOT, Tier, changes, front_door, mark
from tests.testbed import HostSpec, Testbed, wheelhouse

SUITES = {"lan": "trixie", "local": "bookworm", "demo": "bookworm"}
# How many tiers are provisioned side by side: each run waits for its host about half the time.
AT_ONCE = 3
# What spoils hosts comes last.
ORDER = (
    "test_provision", "test_monitoring", "test_front_door", "test_anatomy", "test_refusals",
    "test_browser", "test_shaped_links", "test_dashboards", "test_grafana", "test_two_tiers",
    "test_logs", "test_preflight", "test_engine", "test_volume", "test_audit_finds", "test_tls", "test_restart",
    "test_release", "test_rollback", "test_offline", "test_backup", "test_uninstall",
    "test_readme",
)  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    """Keep the hosts for a look or another run."""
    parser.addoption("--keep-hosts", action="store_true", help="leave the e2e hosts running")
    parser.addoption("--same-hosts", action="store_true", help="take those that were kept, as is")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort our modules; other folders' tests stay where they are."""
    here = Path(__file__).parent
    places = [i for i, item in enumerate(items) if item.path.parent == here]
    ours = sorted((items[i] for i in places), key=lambda item: _turn(item.path.stem))
    for place, item in zip(places, ours, strict=True):
        items[place] = item
        if os.geteuid():
            item.add_marker(pytest.mark.skip(reason="the testbed needs root"))


def _turn(module: str) -> int:
    return ORDER.index(module) if module in ORDER else len(ORDER)


@pytest.fixture(scope="session")
def bed() -> Iterator[Testbed]:
    """The testbed, with images and wheels at hand."""
    testbed = Testbed()
    testbed.settings.state.mkdir(parents=True, exist_ok=True)
    lock = (testbed.settings.state / "e2e.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pytest.exit("another end-to-end run has these hosts: wait for it, or set COSYHOST_TESTBED")
    for suite in sorted(set(SUITES.values())):
        testbed.build(suite)
        wheelhouse.ensure(testbed.settings, suite, LOCKS)
    yield testbed
    lock.close()


@pytest.fixture(scope="session")
def control() -> Iterator[Path]:
    """A folder for SSH's sockets; its path must be short."""
    folder = Path(tempfile.mkdtemp(prefix="ce2e", dir="/tmp"))
    yield folder
    hang_up(folder)


@pytest.fixture(scope="session")
def tiers(bed: Testbed, control: Path, pytestconfig: pytest.Config) -> Iterator[dict[str, Tier]]:
    """All tiers, each on a host that was bare: checked, provisioned, provisioned again, audited."""
    BUILD.mkdir(parents=True, exist_ok=True)
    same = pytestconfig.getoption("--same-hosts")
    specs = [HostSpec(f"voice-{name}", suite, None, None) for name, suite in SUITES.items()]
    hosts = [bed.host(spec.name) for spec in specs] if same else bed.up_many(specs)
    found = {n: Tier.on(n, bed, h, control) for n, h in zip(SUITES, hosts, strict=True)}
    try:
        if not same:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(_from_bare_to_audited, found.values()))
        with ExitStack() as doors:
            for tier in found.values():
                edge = ROOT / f"inventories/{tier.name}/group_vars/all/edge.yml"
                listen = yaml.safe_load(edge.read_text(encoding="utf-8"))["edge_listen"][0]
                tier.url = doors.enter_context(front_door(tier.host, listen))
            yield found
    finally:
        if not pytestconfig.getoption("--keep-hosts"):
            bed.down(host.name for host in hosts)


def _from_bare_to_audited(tier: Tier) -> None:
    """The runs are kept, for tests to judge; a failed one ends the tier's way."""
    mark(tier.host)
    tier.runs["check"] = tier.play("site", "--check")
    tier.left_by_check = changes(tier.host)
    for name in ("fresh", "again"):
        tier.runs[name] = tier.play("site")
        if tier.runs[name].rc:
            return
    tier.runs["audit"] = tier.audit()


@pytest.fixture(scope="session")
def local(tiers: dict[str, Tier]) -> Tier:
    """The tier of one developer."""
    return _served(tiers["local"])


@pytest.fixture(scope="session")
def lan(tiers: dict[str, Tier]) -> Tier:
    """The tier of a team on a switch."""
    return _served(tiers["lan"])


@pytest.fixture(scope="session")
def demo(tiers: dict[str, Tier]) -> Tier:
    """The tier of a client's trial."""
    return _served(tiers["demo"])


def _served(tier: Tier) -> Tier:
    run = tier.runs.get("fresh")
    if run and run.rc:
        pytest.fail(f"{tier.name} could not be provisioned: {run.tail}")
    return tier


@pytest.fixture(scope="session")
def prompt() -> bytes:
    """A prompt recording as WAV."""
    return prompts.good()
