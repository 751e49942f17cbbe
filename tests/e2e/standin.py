"""Kind cosyvoice without upstream's weights and gigabytes, for a host to be provisioned with.

Upstream is the STAND-IN of tests/standin_cosyvoice: its API without weights or torch. The engine's
lock is the worker's own, so nothing large is downloaded.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from roles.model.files import model
from tests.e2e.tier import ROOT
from tests.standin_cosyvoice.make_model import make_model
from tests.testbed import Host

STANDIN = ROOT / "tests/standin_cosyvoice"


def git(folder: Path, *arguments: str) -> str:
    """Run git there, as somebody; returns what it says."""
    who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", "-C", folder, *who, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@dataclass(frozen=True)
class Upstream:
    """The stand-in as two git repositories, the second a submodule of the first."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Upstream:
        """Two repositories with one commit each."""
        tree, matcha = folder / "upstream", folder / "matcha"
        ignore = shutil.ignore_patterns("__pycache__", "third_party", "make_model.py")
        shutil.copytree(STANDIN, tree, ignore=ignore)
        shutil.copytree(STANDIN / "third_party/Matcha-TTS", matcha)
        git(matcha, "init", "-q")
        git(matcha, "add", "-A")
        git(matcha, "commit", "-qm", "one")
        git(tree, "init", "-q")
        made = cls(folder)
        made.commit()
        return made

    def commit(self, broken: str = "") -> str:
        """One more commit, its language model with another last line; returns its name."""
        tree = self.folder / "upstream"
        with (tree / "cosyvoice/cli/cosyvoice.py").open("a", encoding="utf-8") as file:
            file.write(f"\n{broken}\n")
        git(tree, "add", "-A")
        matcha = git(self.folder / "matcha", "rev-parse", "HEAD")
        link = f"160000,{matcha},third_party/Matcha-TTS"
        git(tree, "update-index", "--add", "--cacheinfo", link)
        git(tree, "commit", "-qm", "more")
        return git(tree, "rev-parse", "HEAD")

    def put(self, host: Host) -> None:
        """Bring both to the host, below /srv."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            tar.add(self.folder, arcname="git")
        host.put(packed.getvalue(), "/srv/git.tar.gz")
        host.run("sh", "-ec", "cd /srv; rm -rf git; tar xzf git.tar.gz --no-same-owner")


def bring(host: Host, folder: Path) -> tuple[Upstream, dict[str, object]]:
    """Repositories and model made in `folder` and put below the host's /srv; the variables."""
    upstream = Upstream.make(folder / "git")
    upstream.put(host)
    files = make_model(folder / "cosyvoice3-standin")
    for path in files.rglob("*"):
        if path.is_file():
            host.put(path.read_bytes(), f"/srv/model/{path.relative_to(files)}")
    manifest = folder / "cosyvoice3-standin.json"
    manifest.write_text(json.dumps(model.describe(files, files.name)), encoding="utf-8")
    return upstream, {
        "engine_kind": "cosyvoice",
        "engine_lock": str(ROOT / "files/requirements/worker.txt"),
        "engine_upstream_url": "/srv/git/upstream",
        "engine_upstream_commit": git(folder / "git/upstream", "rev-parse", "HEAD"),
        "engine_matcha_url": "/srv/git/matcha",
        "model_manifest": str(manifest),
        "model_source": "path",
        "model_location": "/srv/model",
    }
