"""An audit of this very machine, with rows made for the test: a copy of the frame, not the rows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.audit.expected import REPOSITORY

CANARY = "Canary+7Jq/0xW=aZ'93"


@dataclass(frozen=True)
class Ended:
    """An audit that ended, and the folder of its report."""

    rc: int
    output: str
    folder: Path

    def text(self, name: str) -> str:
        """One of its files."""
        return (self.folder / name).read_text(encoding="utf-8")

    @property
    def document(self) -> dict[str, Any]:
        """Its JSON."""
        found: dict[str, Any] = json.loads(self.text("report.json"))
        return found

    def row(self, id: str) -> dict[str, Any]:
        """One row of it."""
        return next(row for row in self.document["rows"] if row["id"] == id)


Audit = Callable[..., Ended]


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """Audit this machine with the given rows and waivers."""
    if os.geteuid():
        pytest.skip("an audit is made as root")

    def run(rows: str, waivers: str = "", *arguments: str) -> Ended:
        root = tmp_path_factory.mktemp("audit")
        kept = shutil.ignore_patterns("test_*.py", "__pycache__")
        shutil.copytree(REPOSITORY / "tests/audit", root / "tests/audit", ignore=kept)
        for name in ("roles", "ansible.cfg", "pyproject.toml", "service"):
            (root / name).symlink_to(REPOSITORY / name)
        (root / "tests/audit/test_made.py").write_text(rows, encoding="utf-8")
        inventory = root / "inventory"
        inventory.mkdir()
        here = {"ansible_connection": "local", "redis_password": CANARY, "service_tier": "made"}
        hosts = {"all": {"hosts": {"here": here}}}
        (inventory / "hosts.yml").write_text(json.dumps(hosts), encoding="utf-8")
        if waivers:
            (inventory / "waivers.yml").write_text(waivers, encoding="utf-8")
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--color=no", "tests/audit",
             f"--inventory={inventory}", f"--report={root / 'out'}", *arguments],
            cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            env=os.environ | {"PYTHONPATH": str(root), "ANSIBLE_CONFIG": str(root / "ansible.cfg")},
        )  # fmt: skip
        return Ended(ended.returncode, ended.stdout, root / "out")

    return run
