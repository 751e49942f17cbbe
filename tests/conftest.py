"""Tests side by side under pytest-xdist: each of its workers has a testbed of its own."""

from __future__ import annotations

import os

# Set before any test module is read; programs that tests start inherit it.
if worker := os.environ.pop("PYTEST_XDIST_WORKER", ""):
    from tests.testbed import Settings

    os.environ["COSYHOST_TESTBED"] = f"{Settings.from_env().name[:5]}{worker}"
