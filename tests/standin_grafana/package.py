"""Makes a .deb and a .tar.gz of the stand-in, with the paths of Grafana's own."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
CONTROL = """\
Package: grafana
Version: 0.0.0+standin
Architecture: all
Maintainer: CosyHost's tests <nobody@localhost>
Depends: adduser
Description: STAND-IN for Grafana in CosyHost's tests; not Grafana
"""


def deb(folder: Path) -> Path:
    """A package, built in `folder`."""
    root = folder / "deb"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(CONTROL, encoding="utf-8")
    home = root / "usr/share/grafana/bin"
    home.mkdir(parents=True)
    shutil.copy(HERE / "grafana", home / "grafana")
    path = folder / "grafana_0.0.0+standin_all.deb"
    build: list[str | Path] = ["dpkg-deb", "--root-owner-group", "--build", root, path]
    subprocess.run(build, check=True, capture_output=True)
    return path


def tarball(folder: Path) -> Path:
    """An archive, made in `folder`."""
    path = folder / "grafana-0.0.0-standin.linux-amd64.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(HERE / "grafana", "grafana-0.0.0-standin/bin/grafana")
    return path


def sha256(path: Path) -> str:
    """The file's SHA-256 in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
