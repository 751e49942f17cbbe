"""Packs what browsers load: packages from npm, pinned by integrity hash; our own, comments off.

And the locks the wheel is to be installed with, so that a wheel alone is a whole release.

`python service/hatch_build.py` puts the packages into the source tree, for tests and for a run
from the checkout.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Package(NamedTuple):
    """One npm package: its pin, and which files of its tarball go under which name."""

    name: str
    version: str
    integrity: str
    wanted: dict[str, str]


BORROWED = (
    # Encodes the prompt in the browser.
    Package(
        "libflacjs",
        "5.6.0",
        "sha512-ev9pJxcPEkUdQDBd5ywPHEtYe9mGlzLaNwj+sS32Ipi"
        "OTPnCYQsCPZLR95dAYXix24UICJJwld4D/tZrR0RFbw==",
        {
            "package/dist/libflac.min.wasm.js": "libflac.min.wasm.js",
            "package/dist/libflac.min.wasm.wasm": "libflac.min.wasm.wasm",
            "package/LICENSE": "LICENSE.libflacjs",
        },
    ),
    # Shows the API's description at /docs, and nowhere else.
    Package(
        "swagger-ui-dist",
        "5.35.0",
        "sha512-U06rpMtW9V3XPGOBeamTUSr0Z09jMX4IJuANpE/EZbA"
        "hw0G8CgwrzU4YmXkn/h0wCDNsXdGarTNNHC3sU8yVUQ==",
        {
            "package/swagger-ui-bundle.js": "swagger-ui-bundle.js",
            "package/swagger-ui.css": "swagger-ui.css",
            "package/favicon-32x32.png": "swagger-ui.png",
            "package/LICENSE": "LICENSE.swagger-ui",
            "package/NOTICE": "NOTICE.swagger-ui",
            "package/swagger-ui-bundle.js.LICENSE.txt": "LICENSE.swagger-ui-bundle",
        },
    ),
)
PACKED = {".js", ".css"}
STATIC = Path("cosyhost/web/static")
# libflacjs has its own licence only; that of the C libraries in it is kept with our source.
LIBFLAC_LICENCE = "LICENSE.libFLAC"
LOCKS, LOCKS_IN_WHEEL = ("web.txt", "worker.txt"), Path("cosyhost/requirements")
HERE = Path(__file__).resolve().parent


def _is_pinned(data: bytes, package: Package) -> bool:
    digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
    return f"sha512-{digest}" == package.integrity


def tarball(cache: Path, package: Package) -> Path:
    """The pinned tarball, from `cache` or through the npm client into it."""
    wanted = f"{package.name} {package.version}"
    target = cache / f"{package.name}-{package.version}.tgz"
    if target.exists() and _is_pinned(target.read_bytes(), package):
        return target
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("npm is needed to build the wheel: apt install npm")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        spec = f"{package.name}@{package.version}"
        command = [npm, "pack", spec, "--silent", "--pack-destination", folder]
        # Elsewhere than in the checkout, where a package.json might be taken for the project.
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        fetched = Path(folder) / target.name
        if done.returncode or not fetched.exists():
            said = (done.stderr.strip() or "it says nothing").splitlines()[-1]
            raise SystemExit(f"npm could not fetch {wanted}: {said}")
        if not _is_pinned(fetched.read_bytes(), package):
            raise SystemExit(f"{wanted} from npm is not the pinned one: not used")
        fetched.replace(target)
    return target


def vendor(cache: Path, folder: Path) -> list[Path]:
    """Unpack what our pages need into `folder`, licences included."""
    folder.mkdir(parents=True, exist_ok=True)
    unpacked = [folder / LIBFLAC_LICENCE]
    for package in BORROWED:
        with tarfile.open(tarball(cache, package)) as packed:
            for member, name in package.wanted.items():
                source = packed.extractfile(member)
                assert source is not None
                unpacked.append(folder / name)
                unpacked[-1].write_bytes(source.read())
    shutil.copyfile(HERE / STATIC / LIBFLAC_LICENCE, folder / LIBFLAC_LICENCE)
    return sorted(unpacked)


def lean(source: str) -> str:
    """Our scripts and styles without comments and indentation: a fifth fewer bytes on the wire.

    It knows our own habits only: a comment has its lines to itself, or follows a space and `//`.
    """
    source = re.sub(r"^[ \t]*/\*(?:(?!\*/).)*\*/[ \t]*\n", "", source, flags=re.M | re.S)
    source = re.sub(r"(^|[ \t]+)// .*$", "", source, flags=re.M)
    source = re.sub(r"^[ \t]+|[ \t]+$", "", source, flags=re.M)
    return re.sub(r"\n+", "\n", source)


def pack_own(folder: Path) -> list[Path]:
    """Our scripts and styles as the wheel has them, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    packed = []
    for path in sorted((HERE / STATIC).iterdir()):
        if path.suffix in PACKED:
            packed.append(folder / path.name)
            packed[-1].write_text(lean(path.read_text("utf-8")), "utf-8")
    return packed


def npm_cache() -> Path:
    """Where the tarballs are kept, so that a second build needs no network."""
    return Path(os.environ.get("COSYHOST_NPM_CACHE", HERE / "build" / "npm"))


class CustomBuildHook(BuildHookInterface[Any]):
    """Puts the borrowed files into the wheel; hatchling finds the class by its base."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before the build: an editable install serves the source tree, so they go there."""
        if version == "editable":
            vendor(npm_cache(), HERE / STATIC / "vendor")
            return
        unpacked = npm_cache() / "unpacked"
        for path in vendor(npm_cache(), unpacked):
            build_data["force_include"][str(path)] = str(STATIC / "vendor" / path.name)
        for path in pack_own(unpacked / "own"):
            build_data["force_include"][str(path)] = str(STATIC / path.name)
        for name in LOCKS:
            lock = HERE.parent / "files/requirements" / name
            build_data["force_include"][str(lock)] = str(LOCKS_IN_WHEEL / name)


if __name__ == "__main__":
    for path in vendor(npm_cache(), HERE / STATIC / "vendor"):
        print(path)
