"""Metrics of the disks and of the outputs. The outputs are counted aside: a scrape never waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from cosyhost.exporter.exposition import Family, gauge, labels
from cosyhost.host import storage
from cosyhost.host_config import Outputs

_SCAN_EVERY_S = 60
# A folder so full that counting takes long is counted more rarely: 1 % of one core at most.
_SCAN_SHARE = 0.01


class Scanner:
    """Counts a folder again and again, in a thread of its own.

    `found` is what the last scan found, None before the first one and when there is no folder;
    `seconds` is how long that scan took.
    """

    def __init__(self, folder: Path) -> None:
        self.found: storage.Contents | None = None
        self.seconds = 0.0
        self._folder = folder
        threading.Thread(target=self._run, name="outputs", daemon=True).start()

    def _run(self) -> None:
        while True:
            began = time.monotonic()
            found = storage.contents(self._folder)
            self.seconds = time.monotonic() - began
            self.found = found
            time.sleep(max(_SCAN_EVERY_S, self.seconds / _SCAN_SHARE))


def collect(settings: Outputs, scanner: Scanner | None) -> Iterator[Family]:
    """The families of the root, of the file system that has the outputs, and of the outputs."""
    yield from _room([Path("/")] + ([Path(settings.folder)] if settings.folder else []))
    if scanner is None:
        return
    if settings.quota_bytes:
        yield gauge(
            "cosyhost_outputs_quota_bytes", "What the outputs may hold.", settings.quota_bytes
        )
    found = scanner.found
    if found is not None:
        yield gauge("cosyhost_outputs_bytes", "What the outputs hold.", found.bytes)
        yield gauge("cosyhost_outputs_files", "Files of the outputs.", found.files)
        yield gauge(
            "cosyhost_outputs_oldest_timestamp_seconds",
            "When the oldest output was written; none when there is no output.",
            found.oldest,
        )
        yield gauge(
            "cosyhost_outputs_scan_seconds", "How long counting them took.", scanner.seconds
        )


def _room(paths: list[Path]) -> Iterator[Family]:
    size = gauge("cosyhost_storage_size_bytes", "Size of the file system.")
    free = gauge("cosyhost_storage_free_bytes", "What may still be written there.")
    inodes = gauge("cosyhost_storage_inodes", "Inodes of the file system, where it counts them.")
    inodes_free = gauge("cosyhost_storage_inodes_free", "Inodes not in use.")
    seen: set[int] = set()
    for path in paths:
        room = storage.filesystem(path)
        if room is None or room.device in seen:
            continue
        seen.add(room.device)
        at = labels(path=str(path))
        size.add(at, room.size_bytes)
        free.add(at, room.free_bytes)
        inodes.add(at, room.inodes)
        inodes_free.add(at, room.inodes_free)
    yield from (size, free, inodes, inodes_free)
