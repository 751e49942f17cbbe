"""From a bare host to an audited service, on each tier."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import SUITES
from tests.e2e.tier import Tier

pytestmark = pytest.mark.parametrize("name", SUITES)


@pytest.fixture(autouse=True)
def _provisioned(tiers: dict[str, Tier], name: str) -> None:
    if not tiers[name].runs:
        pytest.skip("--same-hosts provisions nothing")


def test_a_check_run_passes_on_a_bare_host(tiers: dict[str, Tier], name: str) -> None:
    run = tiers[name].runs["check"]
    assert run.rc == 0, run.tail


def test_a_check_run_changes_nothing(tiers: dict[str, Tier], name: str) -> None:
    assert tiers[name].left_by_check == []


def test_one_run_provisions_the_host(tiers: dict[str, Tier], name: str) -> None:
    run = tiers[name].runs["fresh"]
    assert run.rc == 0, run.tail
    print(f"{name}: {run.seconds:.0f} s")


def test_a_second_run_changes_nothing(tiers: dict[str, Tier], name: str) -> None:
    tier = tiers[name]
    run = tier.runs["again"]
    assert run.rc == 0, run.tail
    assert run.recap(tier.host.name)["changed"] == 0, run.tail
    print(f"{name}: {run.seconds:.0f} s")


def test_no_run_warns(tiers: dict[str, Tier], name: str) -> None:
    for run in tiers[name].runs.values():
        warnings = [line for line in run.output.splitlines() if line.startswith("[WARNING]")]
        warnings += [line for line in run.output.splitlines() if "[DEPRECATION" in line]
        assert not warnings


def test_the_audit_is_green(tiers: dict[str, Tier], name: str) -> None:
    run = tiers[name].runs["audit"]
    assert run.rc == 0, run.tail
    assert " 0 failed" in run.output
    print(f"{name}: {run.seconds:.0f} s\n{run.output}")
