"""Asks the package index for the metadata of what the locks pin, without fetching the packages.

pip reads the metadata alone out of each wheel (`fast-deps`); with `--require-hashes` it would fetch
gigabytes. Nothing is installed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.supply import SupplyError, spdx
from tests.supply.locks import Pin

# A package that pip can't give (source only) makes it ask for its batch again.
_AT_ONCE = 40


def licences(pins: Iterable[Pin], python: str = sys.executable) -> dict[tuple[str, str], str]:
    """The licence that the metadata of each pin says without doubt, by name and version.

    Pins whose metadata leaves doubt, or that come as source only, are left out.
    """
    batches: list[_Batch] = []
    for pin in sorted(set(pins), key=lambda pin: (pin.name, pin.version, pin.pythons)):
        # The index knows no local version: 2.13.0+cpu is another build of 2.13.0.
        version = Version(pin.version).public
        if any(batch.wanted.get(pin.name) == version for batch in batches):
            continue
        for batch in batches:
            if batch.has_room(pin):
                batch.wanted[pin.name] = version
                break
        else:
            batches.append(_Batch(pin.pythons[0], {pin.name: version}))
    found = {}
    for batch in batches:
        for metadata in batch.ask(python):
            if licence := of_report(metadata):
                name = str(canonicalize_name(metadata["name"]))
                found[name, str(Version(metadata["version"]))] = licence
    return found


def of_report(metadata: Mapping[str, Any]) -> str | None:
    """The licence in one package's metadata, as pip's report has it."""
    return spdx.of_metadata(
        metadata.get("license_expression", ""),
        metadata.get("license", ""),
        metadata.get("classifier", []),
    )


@dataclass
class _Batch:
    """What one run of pip asks for: for one Python, and one version of a package."""

    python: str
    wanted: dict[str, str]

    def has_room(self, pin: Pin) -> bool:
        new = pin.name not in self.wanted and len(self.wanted) < _AT_ONCE
        return new and self.python in pin.pythons

    def ask(self, pip: str) -> list[Mapping[str, Any]]:
        """The metadata of all that pip can give; one package it can't give stops its whole run."""
        wanted, alone = dict(self.wanted), []
        while wanted:
            told, refused = self._run(pip, wanted)
            if not refused:
                break
            alone.append({refused: wanted.pop(refused)})
        for one in alone:
            told = told + self._run(pip, one)[0]
        return told

    def _run(self, pip: str, wanted: Mapping[str, str]) -> tuple[list[Mapping[str, Any]], str]:
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            command = [pip, "-m", "pip", "install", "--dry-run", "--quiet", "--no-deps"]
            command += ["--ignore-installed", "--disable-pip-version-check", "--no-cache-dir"]
            command += ["--use-feature=fast-deps", "--only-binary=:all:", "--target", folder]
            command += ["--python-version", self.python, "--report", str(report)]
            command += [f"{name}=={version}" for name, version in wanted.items()]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return [item["metadata"] for item in json.loads(report.read_text())["install"]], ""
        for line in done.stderr.splitlines():
            if line.startswith("ERROR: No matching distribution found for "):
                return [], canonicalize_name(line.split()[-1].partition("==")[0])
        raise SupplyError(f"pip could not ask the package index:\n{done.stderr[-2000:]}")
