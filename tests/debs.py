"""Programs of Debian packages, unpacked: installing them would start their servers here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.testbed.files import locked

ROOT = Path(__file__).resolve().parents[1]
# In a mount namespace of its own the package's shared files are where its program looks for them.
SHARED = 'mount -t overlay overlay -o "lowerdir=$0/usr/share:/usr/share" /usr/share; exec "$@"'


def program(package: str, name: str) -> Path:
    """The machine's own program, or that of the suite's package, fetched once into build/debs."""
    if found := _installed(name):
        return found
    folder = ROOT / "build/debs" / package
    with locked(ROOT / "build/debs/lock"):
        if not folder.exists():
            _fetch(package, folder)
    places = (folder / part / name for part in ("usr/bin", "usr/sbin"))
    return next(path for path in places if path.exists())


def command(package: str, name: str) -> list[str]:
    """How to start a program that needs more of its package than itself; for root."""
    path = program(package, name)
    if _installed(name):
        return [str(path)]
    return ["unshare", "--mount", "sh", "-ec", SHARED, str(path.parents[2]), str(path)]


def _fetch(package: str, folder: Path) -> None:
    draft = folder.with_name(f".{package}-{os.getpid()}")
    draft.mkdir(parents=True)
    fetch = ["apt-get", "download", package]
    if subprocess.run(fetch, cwd=draft, capture_output=True, check=False).returncode:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(fetch, cwd=draft, capture_output=True, check=True)
    (deb,) = draft.glob("*.deb")
    subprocess.run(["dpkg", "-x", deb, draft], check=True)
    deb.unlink()
    draft.rename(folder)


def _installed(name: str) -> Path | None:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    return Path(found) if found else None
