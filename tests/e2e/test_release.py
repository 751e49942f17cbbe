"""Releases: what doesn't come up never serves, and what broke off is taken up again."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e import voice
from tests.e2e.tier import BUILD, ROOT, Run, Tier


@pytest.fixture
def altered(tmp_path: Path) -> Callable[[str, str], list[str]]:
    """Makes arguments for site.yml that release a copy of the service with one file changed."""

    def make(module: str, line: str) -> list[str]:
        copy = altered_copy(tmp_path, module, line)
        return ["-e", f"service_source={copy}", "-e", f"service_build={tmp_path / 'wheel'}"]

    return make


def altered_copy(folder: Path, module: str, line: str) -> Path:
    """The service's source in `folder`, with a line more at a module's end."""
    copy = folder / "service"
    shutil.copytree(ROOT / "service", copy, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "files").symlink_to(ROOT / "files")  # the wheel takes its locks from there
    file = copy / "cosyhost" / module
    file.write_text(file.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    return copy


def finished_wheel(folder: Path, version: str) -> Path:
    """A wheel of another version, as somebody hands it over."""
    copy = altered_copy(folder, "__init__.py", f"# {version}")
    project = copy / "pyproject.toml"
    text = project.read_text(encoding="utf-8")
    text = re.sub('version = "[^"]+"', f'version = "{version}"', text, count=1)
    project.write_text(text, encoding="utf-8")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=copy, check=True, capture_output=True)
    return folder


def still_serves(tier: Tier, release: str, prompt: bytes) -> None:
    """The release that was there goes on, whole."""
    assert tier.release() == release
    with tier.client() as client:
        assert client.get("/readyz").status_code == 200
        voice.speak(client, prompt)


def message(run: Run, code: str) -> str:
    """What a failed run said."""
    assert run.rc != 0, run.tail
    assert f"[{code}]" in run.said, run.tail
    return run.said


def test_a_release_that_comes_up_mute_never_serves(
    lan: Tier, altered: Callable[[str, str], list[str]], prompt: bytes
) -> None:
    before = lan.release()
    arguments = altered("engines/espeak.py", "Espeak.speak = lambda self, speech: iter(())")
    said = message(lan.play("site", *arguments), "COSY-SERVICE-GATE")
    assert "0.0 s of sound for a whole sentence" in said
    still_serves(lan, before, prompt)


def test_a_release_that_is_ready_and_cannot_speak_is_taken_back(
    lan: Tier, altered: Callable[[str, str], list[str]], prompt: bytes
) -> None:
    before, unit = lan.release(), web_unit(lan)
    line = "async def accept(*_):\n    raise RuntimeError('broken on purpose')"
    run = lan.play("site", *altered("web/intake.py", line), "-e", "service_ready_timeout_s=61")
    said = message(run, "COSY-SERVICE-NOT-READY")
    assert "the sentence is refused: 500" in said
    assert f"{before.removeprefix('releases/')} serves now" in said
    still_serves(lan, before, prompt)
    assert web_unit(lan) == unit, "the unit of the release that failed stayed"


def test_a_killed_run_leaves_the_old_release_and_the_next_one_completes(
    lan: Tier, altered: Callable[[str, str], list[str]], prompt: bytes
) -> None:
    before = lan.release()
    arguments = altered("__init__.py", "# another release")
    releases = set(_releases(lan))
    kill_once(lan, arguments, lambda: any("/web/bin" in path for path in _fresh(lan, releases)))
    still_serves(lan, before, prompt)
    kill_once(lan, arguments, lambda: there(lan, "/opt/cosyhost/switching"))
    run = lan.provision(*arguments)
    assert run.rc == 0
    after = lan.release()
    assert after != before
    assert not there(lan, "/opt/cosyhost/switching")
    still_serves(lan, after, prompt)


def test_an_upgrade_without_room_is_refused_before_anything(
    lan: Tier, altered: Callable[[str, str], list[str]]
) -> None:
    releases = "/opt/cosyhost/releases"
    small = f"mount -t tmpfs -o size=90% none /mnt && cp -a /opt/cosyhost/{lan.release()} /mnt"
    small += " && used=$(du -sm /mnt | cut -f1)"
    small += f" && mount -o remount,size=$((used + 50))m /mnt && mount --bind /mnt {releases}"
    lan.host.run("sh", "-ec", small)
    try:
        run = lan.play("preflight", *altered("__init__.py", "# one that finds no room"))
    finally:
        lan.host.run("sh", "-c", f"umount {releases}; umount /mnt")
    assert "service_releases_kept" in message(run, "COSY-SERVICE-DISK")
    assert "空间不足" in run.said


def test_the_regular_release_comes_back_and_passes_its_audit(lan: Tier) -> None:
    lan.provision()
    run = lan.audit()
    assert run.rc == 0, run.tail


def kill_once(
    tier: Tier, arguments: list[str], moment: Callable[[], bool], playbook: str = "site"
) -> None:
    """Start a playbook and kill it, with all it started here, as soon as the moment has come."""
    with (BUILD / "killed.log").open("w") as log:
        process = subprocess.Popen(
            tier.command(playbook, *arguments), cwd=ROOT, env=tier.environment(),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        while not moment():
            assert process.poll() is None, (BUILD / "killed.log").read_text()[-3000:]
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def web_unit(tier: Tier) -> str:
    """The web's unit as systemd reads it."""
    return tier.host.run("cat", "/etc/systemd/system/cosyhost-web.service").stdout


def _releases(tier: Tier) -> list[str]:
    return tier.host.run("ls", "/opt/cosyhost/releases").stdout.split()


def _fresh(tier: Tier, known: set[str]) -> list[str]:
    """Folders of releases that were not there before."""
    found = []
    for name in set(_releases(tier)) - known:
        folder = f"/opt/cosyhost/releases/{name}"
        said = tier.host.run("find", folder, "-maxdepth", "2", "-type", "d", check=False)
        found += said.stdout.split()
    return found


def there(tier: Tier, path: str) -> bool:
    """Whether the host has the file."""
    return tier.host.run("test", "-e", path, check=False).returncode == 0
