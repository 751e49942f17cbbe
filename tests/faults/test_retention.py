"""Retention on a volume that fails it: read-only, unmounted in the middle, killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.netns import needs_root
from tests.unit.service.conftest import TEMPLATE, eventually

pytestmark = needs_root
ROOT = Path(__file__).parents[2]
MANY = 40_000


@dataclass
class Volume:
    """A tmpfs at `path`, a command that cleans it up, and a decoy beneath the mount point."""

    path: Path
    config: Path
    state: Path

    @property
    def outputs(self) -> Path:
        return self.path / "outputs"

    def fill(self, count: int) -> None:
        """So many outputs, two days old."""
        then = time.time() - 2 * 86400
        for number in range(count):
            file = self.outputs / f"{number}.wav"
            file.touch()
            os.utime(file, (then, then))

    def left(self) -> int:
        return sum(1 for file in self.outputs.iterdir() if file.suffix == ".wav")

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "cosyhost.cli", "--config", str(self.config), "retention",
             "--json"],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {
                "PYTHONPATH": str(ROOT / "service"), "STATE_DIRECTORY": str(self.state)
            },
        )  # fmt: skip

    def run(self) -> tuple[int, str]:
        """A whole run: its exit status and what it said."""
        process = self.start()
        out, err = process.communicate()
        return process.returncode, out + err

    def halt_in_the_middle(self) -> subprocess.Popen[str]:
        """A run that has deleted some of `MANY` and stands still; too quick a one is made again."""
        for _ in range(10):
            self.fill(MANY)
            process = self.start()
            eventually(lambda: self.left() < MANY, "the first deletion", every=0.001)
            process.send_signal(signal.SIGSTOP)
            if 0 < self.left() < MANY:
                return process
            process.kill()
            process.communicate()
        raise AssertionError("it was always too quick to be halted")

    def mount(self, *arguments: str) -> None:
        subprocess.run(["mount", *arguments, self.path], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", self.path], check=True)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    """Outputs live an hour there; beneath lies one that is older, and must stay."""
    found = Volume(tmp_path / "volume", tmp_path / "cosyhost.toml", tmp_path / "state")
    found.state.mkdir()
    found.outputs.mkdir(parents=True)
    found.fill(1)
    settings = TEMPLATE.format(web_port=1, redis_port=1, folder=tmp_path)
    found.config.write_text(settings.replace(f"{tmp_path}/data", str(found.path)))
    found.mount("-t", "tmpfs", "-o", "size=64m,nr_inodes=100k", "volume")
    found.outputs.mkdir()
    yield found
    while os.path.ismount(found.path):
        found.unmount()


def test_a_read_only_volume_is_named_and_nothing_lost(volume: Volume) -> None:
    volume.fill(3)
    volume.mount("-o", "remount,ro")
    status, said = volume.run()
    assert status == 1
    assert "retention_place" in said
    assert "Read-only file system" in said
    assert "可写" in said
    assert volume.left() == 3
    volume.mount("-o", "remount,rw")
    assert volume.run()[0] == 0
    assert volume.left() == 0


def test_unmounted_in_the_middle_nothing_beneath_is_touched(volume: Volume) -> None:
    process = volume.halt_in_the_middle()
    volume.unmount()
    assert volume.left() == 1
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate()
    # It holds the folder that it began with, not its path.
    assert process.returncode == 0, err
    assert json.loads(out)["old_files"] == MANY
    assert volume.left() == 1
    (volume.outputs / "0.wav").unlink()
    volume.outputs.rmdir()
    status, said = volume.run()
    assert (status, "retention_place" in said) == (1, True)
    assert list(volume.path.iterdir()) == []


def test_killed_in_the_middle_the_next_run_finishes(volume: Volume) -> None:
    process = volume.halt_in_the_middle()
    left = volume.left()
    process.kill()
    process.communicate()
    assert not (volume.state / "last.json").exists()
    status, said = volume.run()
    assert status == 0, said
    assert json.loads(said)["old_files"] == left
    assert volume.left() == 0
    assert json.loads((volume.state / "last.json").read_text())["deleted_files_total"] == left
