"""From a bare host to an audited service, on each tier."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import SUITES
from tests.e2e.tier import Tier

pytestmark = pytest.mark.parametrize("tier", SUITES, indirect=True)


@pytest.fixture(autouse=True)
def _provisioned(tier: Tier) -> None:
    if not tier.runs:
        pytest.skip("--same-hosts provisions nothing")


def test_a_check_run_passes_on_a_bare_host(tier: Tier) -> None:
    run = tier.runs["check"]
    assert run.rc == 0, run.tail


def test_a_check_run_changes_nothing(tier: Tier) -> None:
    assert tier.left_by_check == []


def test_one_run_provisions_the_host(tier: Tier) -> None:
    run = tier.runs["fresh"]
    assert run.rc == 0, run.tail
    print(f"{tier.name}: {run.seconds:.0f} s")


def test_a_second_run_changes_nothing(tier: Tier) -> None:
    run = tier.runs["again"]
    assert run.rc == 0, run.tail
    assert run.recap(tier.host.name)["changed"] == 0, run.tail
    print(f"{tier.name}: {run.seconds:.0f} s")


def test_no_run_warns(tier: Tier) -> None:
    for run in tier.runs.values():
        warnings = [line for line in run.output.splitlines() if line.startswith("[WARNING]")]
        warnings += [line for line in run.output.splitlines() if "[DEPRECATION" in line]
        assert not warnings


def test_the_audit_is_green(tier: Tier) -> None:
    run = tier.runs["audit"]
    assert run.rc == 0, run.tail
    assert " 0 failed" in run.output
    print(f"{tier.name}: {run.seconds:.0f} s\n{run.output}")
