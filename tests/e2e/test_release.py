"""Releases: what doesn't come up never serves, and what broke off is taken up again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e import voice
from tests.e2e.tier import BUILD, ROOT, Run, Tier


@pytest.fixture
def altered(tmp_path: Path) -> Callable[[str, str], list[str]]:
    """Makes arguments for site.yml that release a copy of the service with one file spoilt."""

    def make(module: str, line: str) -> list[str]:
        copy = tmp_path / "service"
        shutil.copytree(ROOT / "service", copy, ignore=shutil.ignore_patterns("__pycache__"))
        file = copy / "cosyhost" / module
        file.write_text(file.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
        return ["-e", f"service_source={copy}", "-e", f"service_build={tmp_path / 'wheel'}"]

    return make


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


def test_a_release_that_does_not_start_never_serves(
    lan: Tier, altered: Callable[[str, str], list[str]], prompt: bytes
) -> None:
    before = lan.release()
    arguments = altered("web/app.py", 'raise ImportError("broken on purpose")')
    said = message(lan.play("site", *arguments), "COSY-SERVICE-GATE")
    assert "broken on purpose" in said
    still_serves(lan, before, prompt)


def test_a_release_that_fails_after_the_switch_is_taken_back(
    lan: Tier, altered: Callable[[str, str], list[str]], prompt: bytes
) -> None:
    before = lan.release()
    line = "def serve(*_):\n    raise SystemExit('broken on purpose')"
    arguments = altered("web/server.py", line)
    run = lan.play("site", *arguments, "-e", "service_ready_timeout_s=20")
    said = message(run, "COSY-SERVICE-NOT-READY")
    assert "broken on purpose" in said
    still_serves(lan, before, prompt)


def test_a_killed_run_leaves_the_old_release_and_the_next_one_completes(
    lan: Tier, altered: Callable[[str, str], list[str]], prompt: bytes
) -> None:
    before = lan.release()
    arguments = altered("__init__.py", "# another release")
    releases = set(_releases(lan))
    kill_once(lan, arguments, lambda: any("/web/bin" in path for path in _fresh(lan, releases)))
    still_serves(lan, before, prompt)
    kill_once(lan, arguments, lambda: _there(lan, "/opt/cosyhost/switching"))
    run = lan.provision(*arguments)
    assert run.rc == 0
    after = lan.release()
    assert after != before
    assert not _there(lan, "/opt/cosyhost/switching")
    still_serves(lan, after, prompt)


def test_the_regular_release_comes_back_and_passes_its_audit(lan: Tier) -> None:
    lan.provision()
    run = lan.audit()
    assert run.rc == 0, run.tail


def kill_once(tier: Tier, arguments: list[str], moment: Callable[[], bool]) -> None:
    """Start site.yml and kill it, with all it started here, as soon as the moment has come."""
    with (BUILD / "killed.log").open("w") as log:
        process = subprocess.Popen(
            tier.command("site", *arguments), cwd=ROOT, env=tier.environment(),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        while not moment():
            assert process.poll() is None, (BUILD / "killed.log").read_text()[-3000:]
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


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


def _there(tier: Tier, path: str) -> bool:
    return tier.host.run("test", "-e", path, check=False).returncode == 0
