"""Room on disk, and what the outputs hold."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Filesystem:
    """A file system's room. Where inodes are made as needed (btrfs) both of their figures are None.

    `free_bytes` is what an ordinary user may still write (statvfs(3), f_bavail); `device` is the
    same number for all paths of one file system.
    """

    device: int
    size_bytes: int
    free_bytes: int
    inodes: int | None
    inodes_free: int | None


@dataclass(frozen=True)
class Contents:
    """The files below a folder: their number, their bytes, and when the oldest was last written.

    `oldest` is a Unix time in seconds, None when there is no file; `unread` counts the folders
    that could not be looked into.
    """

    files: int
    bytes: int
    oldest: float | None
    unread: int


def filesystem(path: Path) -> Filesystem | None:
    """The file system that holds `path`; None if the path is not there or can't be reached."""
    try:
        said, device = os.statvfs(path), path.stat().st_dev
    except OSError:
        return None
    return Filesystem(
        device=device,
        size_bytes=said.f_blocks * said.f_frsize,
        free_bytes=said.f_bavail * said.f_frsize,
        inodes=said.f_files or None,
        inodes_free=said.f_favail if said.f_files else None,
    )


def contents(folder: Path) -> Contents | None:
    """What lies below `folder`; None if it is not there or is not a folder that can be read.

    No link is followed; what vanishes meanwhile is not counted.
    """
    files = size = unread = 0
    oldest: float | None = None
    waiting = [str(folder)]
    first = True
    while waiting:
        try:
            entries = os.scandir(waiting.pop())
        except OSError:
            if first:
                return None
            unread += 1
            continue
        first = False
        with entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        said = entry.stat(follow_symlinks=False)
                        files += 1
                        size += said.st_size
                        oldest = said.st_mtime if oldest is None else min(oldest, said.st_mtime)
                except OSError:
                    continue
    return Contents(files, size, oldest, unread)
