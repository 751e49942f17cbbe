"""Reading the bundle's YAML and running Ansible without a host."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
TIERS = sorted(path.name for path in (ROOT / "inventories").iterdir() if path.is_dir())


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def spec_of(role: str) -> dict[str, dict[str, Any]]:
    specs = load(ROOT / "roles" / role / "meta/argument_specs.yml")
    options: dict[str, dict[str, Any]] = specs["argument_specs"]["main"]["options"]
    return options


def ansible(program: str, *args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's programs with the project's own configuration."""
    return subprocess.run(
        [Path(sys.executable).parent / program, *args],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def tier_copy(tmp_path: Path) -> Any:
    """A function that copies a tier's inventory, without its secrets, to be spoilt by a test."""

    def copy(tier: str) -> Path:
        to = tmp_path / tier
        shutil.copytree(ROOT / "inventories" / tier, to, ignore=shutil.ignore_patterns("secrets"))
        return to

    return copy
