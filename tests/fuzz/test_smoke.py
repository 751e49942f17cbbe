"""Some hundred cases of each target, and a harness that finds what it is there to find."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.fuzz import TARGETS, selftest
from tests.fuzz.harness import Totals


@pytest.fixture(scope="module")
def fresh() -> Iterator[ProcessPoolExecutor]:
    """A process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_finds_nothing(name: str, fresh: ProcessPoolExecutor) -> None:
    assert fresh.submit(selftest.target, name).result() == Totals(name, cases=300)


@pytest.mark.parametrize("what", selftest.FOUND)
def test_the_harness_finds(what: str, tmp_path: Path, fresh: ProcessPoolExecutor) -> None:
    expected = selftest.FOUND[what][1]
    assert fresh.submit(selftest.found, what, tmp_path).result() == expected
    kept = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert kept == ([b"30"] if expected.crashes + expected.hangs + expected.server_errors else [])
