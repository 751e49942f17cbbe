"""Packs what browsers load: packages from npm, and our own, bundled and minified with esbuild.

And the locks the wheel is to be installed with, so that a wheel alone is a whole release.

`python service/hatch_build.py` puts the packages into the source tree, for tests and for a run
from the checkout.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Borrowed(NamedTuple):  # a dataclass wants its module registered; hatchling's hook is not
    """A package of npm's registry, pinned by version and integrity hash.

    `wanted` says which files of its tarball go into the wheel, and under which name.
    """

    name: str
    version: str
    integrity: str
    wanted: dict[str, str]

    def fits(self, data: bytes) -> bool:
        """Whether `data` is the pinned tarball."""
        digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
        return f"sha512-{digest}" == self.integrity


BORROWED = (
    # Encodes the prompt in the browser.
    Borrowed(
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
    Borrowed(
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
# Bundles and minifies our own; the wasm build is one package for every machine. It stays here.
ESBUILD = Borrowed(
    "esbuild-wasm",
    "0.28.2",
    "sha512-GccVwhv3mmOUVQHCQm2Ox/rby8n/EqUwvZxE6Pjfikrq"
    "/lWw9g9WX/u9EykWnpot3Ko6j426DgQdea2xWKIAQA==",
    {},
)
ESBUILD_PARTS = ("bin/esbuild", "esbuild.wasm", "wasm_exec.js", "wasm_exec_node.js")
# What the page asks for by name; what these import on first use gets files of its own beside them.
ENTRIES = ("studio.js", "studio.css")
# What our own is written in: nothing is rewritten for older browsers.
TARGET = "es2022"
STATIC = Path("cosyhost/web/static")
# libflacjs has its own licence only; that of the C libraries in it is kept with our source.
LIBFLAC_LICENCE = "LICENSE.libFLAC"
LOCKS = ("web.txt", "worker.txt", "exporter.txt")
LOCKS_IN_WHEEL = Path("cosyhost/requirements")
HERE = Path(__file__).resolve().parent


def tarball(package: Borrowed, cache: Path) -> Path:
    """The pinned tarball, from `cache` or through the npm client into it."""
    target = cache / f"{package.name}-{package.version}.tgz"
    if target.exists() and package.fits(target.read_bytes()):
        return target
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("npm is needed to build the wheel: apt install npm")
    wanted = f"{package.name}@{package.version}"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        command = [npm, "pack", wanted, "--silent", "--pack-destination", folder]
        # Elsewhere than in the checkout, where a package.json might be taken for the project.
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        fetched = Path(folder) / target.name
        if done.returncode or not fetched.exists():
            said = (done.stderr.strip() or "it says nothing").splitlines()[-1]
            raise SystemExit(f"npm could not fetch {wanted}: {said}")
        if not package.fits(fetched.read_bytes()):
            raise SystemExit(f"{wanted} from npm is not the pinned one: not used")
        fetched.replace(target)
    return target


def vendor(cache: Path, folder: Path) -> list[Path]:
    """Unpack what our pages need into `folder`, licences included."""
    folder.mkdir(parents=True, exist_ok=True)
    unpacked = [folder / LIBFLAC_LICENCE]
    for package in BORROWED:
        with tarfile.open(tarball(package, cache)) as packed:
            for member, name in package.wanted.items():
                source = packed.extractfile(member)
                assert source is not None
                unpacked.append(folder / name)
                unpacked[-1].write_bytes(source.read())
    shutil.copyfile(HERE / STATIC / LIBFLAC_LICENCE, folder / LIBFLAC_LICENCE)
    return sorted(unpacked)


def bundle(cache: Path, entries: Iterable[str] = ENTRIES) -> list[Path]:
    """Our scripts and styles as browsers get them: the entries under their own names, each with
    what it always needs, minified; what they load on first use beside them.

    They lie in a folder of `cache` named by what they are made of, and are made once; builds may
    run side by side.
    """
    node = shutil.which("node")
    if node is None:
        raise SystemExit("node is needed to build the wheel: apt install npm")
    made_of = hashlib.sha256(" ".join([ESBUILD.integrity, TARGET, *entries]).encode())
    for path in (Path(__file__), *sorted((HERE / STATIC).glob("*.*"))):
        made_of.update(path.name.encode() + path.read_bytes())
    folder = cache / f"bundle-{made_of.hexdigest()[:16]}"
    if not folder.exists():
        archive = tarball(ESBUILD, cache)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            with tarfile.open(archive) as packed:
                for name in ESBUILD_PARTS:
                    packed.extract(f"package/{name}", scratch)
            _esbuild([node, f"{scratch}/package/{ESBUILD_PARTS[0]}", *entries], f"{scratch}/made")
            with contextlib.suppress(OSError):  # another build was quicker
                Path(f"{scratch}/made").rename(folder)
    return sorted(folder.iterdir())


def _esbuild(command: list[str], folder: str) -> None:
    command += ["--bundle", "--splitting", "--format=esm", "--minify", f"--target={TARGET}"]
    command += ["--charset=utf8", "--chunk-names=[name]-[hash]", "--external:*.svg"]
    command += ["--log-level=warning", f"--outdir={folder}"]
    done = subprocess.run(command, cwd=HERE / STATIC, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"esbuild could not bundle the page's scripts:\n{done.stderr}")


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
        for path in bundle(npm_cache()):
            build_data["force_include"][str(path)] = str(STATIC / path.name)
        for name in LOCKS:
            lock = HERE.parent / "files/requirements" / name
            build_data["force_include"][str(lock)] = str(LOCKS_IN_WHEEL / name)


if __name__ == "__main__":
    for path in vendor(npm_cache(), HERE / STATIC / "vendor"):
        print(path)
