"""Tiers on real hosts, each provisioned once for all tests of a lane. Needs root.

pytest tests/e2e [-n 3 --no-loadscope-reorder] [--keep-hosts]
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml
from xdist.scheduler import LoadScopeScheduling

from tests import prompts
from tests.audit.connection import hang_up
from tests.e2e.tier import BUILD, LOCKS, ROOT, Tier, changes, front_door, mark
from tests.testbed import HostSpec, Testbed, wheelhouse

Way = Callable[[Tier], None]
SUITES = {"lan": "trixie", "local": "bookworm", "demo": "bookworm"}
# How many tiers are provisioned side by side: each run waits for its host about half the time.
AT_ONCE = 3
# Tiers that one lane's tests use are provisioned side by side.
TOGETHER = (("lan", "local"), ("demo",))
# Lanes run side by side (pytest-xdist), each with hosts of its own; a lane's modules run one after
# another, and what spoils hosts comes last. The longest lane comes first. Of what is tried on each
# tier, the demo's goes to the lane of that name.
LANES = {
    "lan": (
        "test_provision", "test_monitoring", "test_front_door", "test_anatomy", "test_refusals",
        "test_browser", "test_shaped_links", "test_dashboards", "test_two_tiers", "test_audit_link",
        "test_logs", "test_restart", "test_release", "test_rollback",
    ),
    "away": ("test_offline", "test_backup", "test_readme"),
    "demo": (
        "test_demo_door", "test_grafana", "test_preflight", "test_audit_finds", "test_firewall",
        "test_updates", "test_tls", "test_uninstall",
    ),
    "volume": ("test_volume",),
    "engine": ("test_engine",),
}  # fmt: skip
ORDER = [module for lane in LANES.values() for module in lane]
# Lanes for the night: `make test` is to end well within an hour and a half on two cores.
NIGHTLY = ("volume", "engine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Keep the hosts for a look or another run."""
    parser.addoption("--keep-hosts", action="store_true", help="leave the e2e hosts running")
    parser.addoption("--same-hosts", action="store_true", help="take those that were kept, as is")
    parser.addoption("--nightly", action="store_true", help="the lanes of the night, and no others")


class Provisioned(Protocol):
    """Hosts of tiers, which are provisioned when they are first asked for."""

    def __call__(self, names: Iterable[str], *, way: Way = ...) -> dict[str, Tier]:
        """The tiers by name; `way` is what a host that is bare goes through."""


class Lanes(LoadScopeScheduling):  # type: ignore[misc]
    """A lane at a time for each test process; tests of other folders go by file.

    Not `--dist loadgroup`: pytest-xdist 3.8 has no way any more to tell pytest 9.2's tests apart by
    group.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if nodeid.endswith(("[demo]", "-demo]")):
            return "demo"
        return next((name for name, ours in LANES.items() if Path(file).stem in ours), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Lanes:
    """Called by pytest-xdist when tests run side by side."""
    return Lanes(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort our modules, and leave to the night what is of the night; whole runs only.

    Other folders' tests stay where they are.
    """
    here = Path(__file__).parent
    if not any(Path(one.partition("::")[0]).suffix == ".py" for one in config.args):
        night = {module for lane in NIGHTLY for module in LANES[lane]}
        wanted = config.getoption("--nightly")
        left = [item for item in items if (item.path.stem in night) != wanted]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if (item.path.stem in night) == wanted]
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
def provisioned(bed: Testbed, control: Path, pytestconfig: pytest.Config) -> Iterator[Provisioned]:
    """Tiers by name, each on a host that was bare."""
    BUILD.mkdir(parents=True, exist_ok=True)
    same, kept = pytestconfig.getoption("--same-hosts"), pytestconfig.getoption("--keep-hosts")
    found: dict[str, Tier] = {}

    with ExitStack() as stack:

        def get(names: Iterable[str], *, way: Way = _to_service) -> dict[str, Tier]:
            specs = {
                n: HostSpec(f"voice-{n}", SUITES[n], None, None) for n in names if n not in found
            }
            if not specs:
                return found
            if not kept:
                stack.callback(bed.down, [spec.name for spec in specs.values()])
            hosts = (
                [bed.host(s.name) for s in specs.values()] if same else bed.up_many(specs.values())
            )
            new = [Tier.on(n, bed, h, control) for n, h in zip(specs, hosts, strict=True)]
            if not same:
                with ThreadPoolExecutor(AT_ONCE) as pool:
                    list(pool.map(way, new))
            for tier in new:
                edge = ROOT / f"inventories/{tier.name}/group_vars/all/edge.yml"
                listen = yaml.safe_load(edge.read_text(encoding="utf-8"))["edge_listen"][0]
                tier.url = stack.enter_context(front_door(tier.host, listen))
                found[tier.name] = tier
            return found

        yield get


@pytest.fixture
def tier(provisioned: Provisioned, request: pytest.FixtureRequest) -> Tier:
    """The tier that the test is parametrized with (indirectly)."""
    name: str = request.param
    (together,) = (names for names in TOGETHER if name in names)
    return provisioned(together, way=_checked_and_audited)[name]


def _to_service(tier: Tier) -> None:
    """For tests that only want a host that serves."""
    tier.runs["fresh"] = tier.play("site")


def _checked_and_audited(tier: Tier) -> None:
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
def local(provisioned: Provisioned) -> Tier:
    """The tier of one developer."""
    return _served(provisioned(["local"])["local"])


@pytest.fixture(scope="session")
def lan(provisioned: Provisioned) -> Tier:
    """The tier of a team on a switch."""
    return _served(provisioned(["lan"])["lan"])


@pytest.fixture(scope="session")
def demo(provisioned: Provisioned) -> Tier:
    """The tier of a client's trial."""
    return _served(provisioned(["demo"])["demo"])


def _served(tier: Tier) -> Tier:
    run = tier.runs.get("fresh")
    if run and run.rc:
        pytest.fail(f"{tier.name} could not be provisioned: {run.tail}")
    return tier


@pytest.fixture(scope="session")
def prompt() -> bytes:
    """A prompt recording as WAV."""
    return prompts.good()
