"""Files that several processes share: locks, whole-file writes, safe removal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .shell import call


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file lock; the kernel lets go of it when the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def write_whole(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file at once, so that no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    draft.chmod(mode)
    draft.replace(path)


def write_json(path: Path, value: object) -> None:
    """Store a value as JSON, whole or not at all."""
    write_whole(path, json.dumps(value, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """The stored value, or None when there is none that can be read."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def entries(folder: Path) -> list[str]:
    """Names in a folder, hidden ones left out; empty when there is no folder."""
    try:
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def mounts_under(folder: Path) -> list[Path]:
    """Mount points at or below a folder, deepest first."""
    inside = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        target = line.split()[4].replace("\\040", " ")
        if target == str(folder) or target.startswith(f"{folder}/"):
            inside.append(Path(target))
    return sorted(inside, key=lambda path: len(path.parts), reverse=True)


def unmount_under(folder: Path) -> None:
    """Unmount everything at or below a folder, lazily where it is busy."""
    for target in mounts_under(folder):
        if call("umount", str(target), check=False).returncode:
            call("umount", "--lazy", str(target), check=False)


def remove_tree(folder: Path) -> None:
    """Remove a tree that may have been a root: unmount first, never cross a mount."""
    unmount_under(folder)
    if folder.exists() or folder.is_symlink():
        call("rm", "-rf", "--one-file-system", str(folder))


def link_all(source: Path, target: Path, pattern: str) -> int:
    """Hard-link the files of one folder into another; copies where links cannot be made."""
    count = 0
    for path in source.glob(pattern):
        copy = target / path.name
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            try:
                copy.hardlink_to(path)
            except OSError as error:
                if isinstance(error, FileExistsError | FileNotFoundError):
                    raise
                shutil.copy2(path, copy)
            count += 1
    return count
