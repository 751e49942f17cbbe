"""Programs of Debian packages, unpacked: installing them would start their servers here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def program(package: str, name: str) -> Path:
    """The machine's own program, or that of the suite's package, fetched once into build/debs."""
    if found := shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin"):
        return Path(found)
    folder = ROOT / "build/debs" / package
    if not folder.exists():
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
    return next(
        folder / part / name for part in ("usr/bin", "usr/sbin") if (folder / part / name).exists()
    )
