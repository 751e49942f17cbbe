"""Wheels for the hosts, so that a test installs from a folder and not over the network.

The suite's own Python fetches them, in a throwaway copy of the base image: pip chooses wheels and
evaluates markers for the interpreter it runs under, so no other one gives the right answer.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from . import disk, image, pip
from .errors import TestbedError, UsageError
from .files import link_all, locked, read_json, remove_tree, write_json
from .settings import Settings
from .shell import require_programs, say

# A mount namespace of its own: whatever happens, no mount is left behind.
ENTER_ROOT = """\
set -e
mount -t overlay wheels -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
mount -t proc proc "$2/root/proc"
mount --rbind /dev "$2/root/dev"
mount --bind "$2/wheels" "$2/root/mnt"
exec chroot "$2/root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
  /bin/sh -e /root/fetch
"""
FETCH = """\
export DEBIAN_FRONTEND=noninteractive
install="apt-get -qq -o Dpkg::Use-Pty=0 install --no-install-recommends python3-pip"
{ $install || { apt-get -qq update && $install; } } >/root/apt.log 2>&1 ||
  { tail -n 3 /root/apt.log; exit 1; }
exec python3 -m pip wheel --no-cache-dir --progress-bar off --no-deps --require-hashes \
  --wheel-dir /mnt $(for lock in /root/*.lock; do echo -r "$lock"; done) 2>&1
"""
BUILT = re.compile(r"\s*Created wheel for (\S+): filename=(\S+) .*sha256=([0-9a-f]{64})")


def ensure(settings: Settings, suite: str, locks: Sequence[Path]) -> Path:
    """The folder with all wheels that the lock files name; unchanged locks cost nothing."""
    folder = pip.wheelhouse(settings, suite)
    try:
        texts = [path.read_bytes() for path in locks]
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}: name a lock file") from None
    digest = hashlib.sha256(b"\0".join(sorted(texts))).hexdigest()[:16]
    receipt = folder / f".{digest}.json"
    if _complete(folder, receipt):
        return folder
    require_programs(["mmdebstrap"])
    with locked(settings.wheelhouses / f".{suite}.lock"):
        if not _complete(folder, receipt):
            fetched = _fetch(settings, suite, texts, folder)
            write_json(receipt, fetched)
    return folder


def _complete(folder: Path, receipt: Path) -> bool:
    names = read_json(receipt)
    return isinstance(names, list) and all((folder / name).exists() for name in names)


def _fetch(settings: Settings, suite: str, locks: Sequence[bytes], folder: Path) -> list[str]:
    """Fetch into a draft folder, then add to the wheelhouse; other locks' wheels stay there."""
    started = time.monotonic()
    base = image.folder(settings, suite, image.ensure(settings, suite))
    folder.mkdir(parents=True, exist_ok=True)
    for stale in settings.wheelhouses.glob(f".draft-{suite}-*"):
        remove_tree(stale)
    work = Path(tempfile.mkdtemp(prefix=f".draft-{suite}-", dir=settings.wheelhouses))
    try:
        for name in ("upper/root", "work", "root", "wheels"):
            (work / name).mkdir(parents=True)
        work.chmod(0o755)
        upper = work / "upper"
        (upper / "root").chmod(0o700)
        (upper / "etc").mkdir()
        (upper / "etc/resolv.conf").write_text(disk.resolver())
        (upper / "etc/pip.conf").write_text(pip.render(pip.index_options()))
        (upper / "root/fetch").write_text(FETCH)
        for number, text in enumerate(locks):
            (upper / f"root/{number}.lock").write_bytes(text)
        archives, cache = upper / disk.ARCHIVES, settings.apt_cache / suite
        for path in (archives, cache):
            path.mkdir(parents=True, exist_ok=True)
        link_all(cache, archives, "*.deb")
        say(f"fetching the {suite} wheels of {len(locks)} lock file(s)")
        _follow(["unshare", "--mount", "--pid", "--fork", "--kill-child",
                 "/bin/sh", "-c", ENTER_ROOT, "sh", str(base), str(work)])  # fmt: skip
        link_all(archives, cache, "*.deb")
        names = sorted(path.name for path in (work / "wheels").glob("*.whl"))
        for name in names:
            shutil.copy2(work / "wheels" / name, work / name)
            (work / name).replace(folder / name)
    finally:
        remove_tree(work)
    say(f"{len(names)} {suite} wheels are ready after {time.monotonic() - started:.0f} s")
    return names


def _follow(command: list[str]) -> None:
    """Run pip; say which wheels had to be built here, for their hashes are in no lock."""
    said: list[str] = []
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace",
    ) as process:  # fmt: skip
        assert process.stdout
        for line in process.stdout:
            said.append(line.rstrip())
            built = BUILT.match(line)
            if built:
                say(
                    f"{built[1]} has no wheel, so it was built here as {built[2]}; "
                    f"to install it by hash, add --hash=sha256:{built[3]} to its lock"
                )
    if process.returncode:
        errors = [line for line in said if line.startswith("ERROR:")] or said[-3:]
        raise TestbedError(f"the wheels cannot be fetched: {'; '.join(errors[-3:])}")
