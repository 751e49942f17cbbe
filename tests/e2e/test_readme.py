"""The READMEs are true: every command in them is run, as printed, in a fresh copy of the tree."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.tier import ROOT, Tier
from tests.testbed import Settings, Testbed

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)
INLINE = re.compile(r"`(make [^`]+)`")
# What runs these tests, is run by hand because it takes an idle machine, or needs what is fetched.
RUN_ELSEWHERE = {
    "make test",
    "make test-nightly",
    "make test-fuzz",
    "make bench BENCH=provision",
    "make bench BENCH=speech",
    "make bench BENCH=overhead",
    "make bench BENCH=page",
    "make bench BENCH=upload",
    "make bench BENCH=crowd",
    "make bench BENCH=adapter",
    "make bench BENCH=faults",
    "make bench BENCH=exporter",
    "make vuln DB=build/osv",
    "make bench BENCH=monitoring",
    "make bench BENCH=retention",
    "make bench BENCH=hardening",
}
# `make down` ends every host of its testbed: it gets one of its own.
TESTBED = "readme"
LAST = ("make down", "playbooks/uninstall.yml")


def commands(readme: str) -> list[str]:
    """The commands of a README in the order of their lines, those that end things last."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    found = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    found += INLINE.findall(text)
    found = list(dict.fromkeys(found))
    return sorted(found, key=lambda command: command.endswith(LAST))


@pytest.fixture
def copy(tmp_path: Path, lan: Tier, bed: Testbed) -> Iterator[Path]:
    """A copy of the tree whose user has SSH access to the lan tier's host."""
    folder = tmp_path / "cosyhost"
    left_out = shutil.ignore_patterns(
        ".venv", "build", ".git", "__pycache__", "secrets", ".*_cache"
    )
    shutil.copytree(ROOT, folder, ignore=left_out)
    (folder / "build").mkdir()
    # The requirements are unchanged, so make keeps this environment.
    (folder / ".venv").symlink_to(Path(sys.prefix))
    yield folder
    Testbed(Settings.from_env({**os.environ, "COSYHOST_TESTBED": TESTBED})).clean()


def test_both_languages_name_the_same_commands() -> None:
    assert sorted(commands("README.md")) == sorted(commands("README.zh.md"))


def test_every_command_runs_as_printed(copy: Path, lan: Tier, bed: Testbed) -> None:
    # What this run's own make was told is not for those that it tries.
    told = ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "ARGS")
    environment = {
        **{name: value for name, value in os.environ.items() if name not in told},
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(lan.control),
        "COSYHOST_TESTBED": TESTBED,
    }

    def run(command: str) -> str:
        ended = subprocess.run(
            command,
            shell=True,
            cwd=copy,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=900,
        )
        assert ended.returncode == 0, f"{command}\n{ended.stdout[-4000:]}"
        return ended.stdout

    for command in commands("README.md"):
        if command in RUN_ELSEWHERE:
            continue
        said = run(command)
        if command.startswith("cp -r"):
            # The address, and what a user has in ~/.ssh: the key and the known host.
            access = yaml.safe_load(bed.inventory_yaml(names=[lan.host.name]))["all"]
            variables = access.get("vars", {}) | access["hosts"][lan.host.name]
            hosts = copy / "inventories/office/hosts.yml"
            text = hosts.read_text(encoding="utf-8")
            assert "{ansible_host: 192.0.2.10}" in text
            text = text.replace("{ansible_host: 192.0.2.10}", json.dumps(variables))
            hosts.write_text(text, encoding="utf-8")
            secret = lan.inventories[0] / "secrets"
            shutil.copytree(secret, hosts.parent / "secrets")
        if command == "make demo":
            printed = re.search(r"curl .*", said)
            assert printed
            run(printed[0])
            assert (copy / "hello.wav").read_bytes()[:4] == b"RIFF"
        if command == "make help":
            assert "make deploy" in said
