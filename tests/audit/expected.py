"""What a host should be like, by its inventory: the roles' defaults below the tier's variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Expected:
    """Groups with their hosts, and each host's variables of our roles, all templated."""

    groups: dict[str, list[str]]
    values: dict[str, dict[str, Any]]

    def total(self, group: str, name: str) -> int:
        """A whole number summed over the hosts of a group."""
        return sum(int(self.values[host][name]) for host in self.groups.get(group, []))


def role_defaults() -> dict[str, Any]:
    """All roles' defaults."""
    found: dict[str, Any] = {}
    for path in sorted((REPOSITORY / "roles").glob("*/defaults/main.yml")):
        found.update(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    return found


def ask_ansible(inventories: str) -> Expected:
    """Let Ansible itself put the variables together; asks no host.

    The defaults go in as variables of the group `all` in a first inventory, the one place that
    everything else outranks, as it outranks a role's defaults.
    """
    bin_dir = Path(sys.executable).parent
    with tempfile.TemporaryDirectory(prefix="cosyhost-audit-") as folder:
        below, out = Path(folder) / "defaults.yml", Path(folder) / "expected"
        out.mkdir()
        below.write_text(json.dumps({"all": {"vars": role_defaults()}}), encoding="utf-8")
        sources = [part for path in (str(below), *inventories.split(",")) for part in ("-i", path)]
        ran = subprocess.run(
            [bin_dir / "ansible-playbook", *sources, "-e", json.dumps({"expected_out": str(out)}),
             REPOSITORY / "tests/audit/expected.yml"],
            capture_output=True, text=True, check=False, cwd=REPOSITORY,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"},
        )  # fmt: skip
        if ran.returncode:
            raise pytest.UsageError(f"the inventory cannot be read:\n{ran.stdout}{ran.stderr}")
        found = {path.stem: json.loads(path.read_text("utf-8")) for path in out.glob("*.json")}
    groups = next(iter(found.values()))["groups"] if found else {}
    return Expected(groups, {host: found[host]["values"] for host in groups.get("all", [])})
