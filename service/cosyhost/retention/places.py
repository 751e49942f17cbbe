"""Where outputs lie, as retention sees it: a folder of this host, or any object store."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

from cosyhost.errors import RETENTION_PLACE, Problem

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from cosyhost import config

OUTPUTS = "outputs"
# How many an object store is asked to delete at once (S3's own limit).
_BATCH = 1000
# Of st_mode, st_size, st_atime, st_mtime and st_ctime only these places are whole numbers.
_KIND, _REGULAR = 0o170000, stat.S_IFREG
# How many of a folder's files are looked at between two words about the progress.
PAGE = 4096

_T = TypeVar("_T")


class Page(NamedTuple):
    """Some of the files, column by column: the same place in each is the same file.

    `changed` and `used` are when it was last written and last read, in Unix seconds; sizes are
    bytes.
    """

    names: list[str]
    changed: list[float]
    used: list[float]
    sizes: list[int]


class Place(Protocol):
    """A listing, and the way to delete from it."""

    def pages(self) -> Iterator[Page]:
        """All there is, a few thousand at a time."""

    def remove(self, names: Sequence[str]) -> None:
        """Delete these; what is gone already is no error."""

    def free_bytes(self) -> int | None:
        """Free on the volume; None where there is no such thing."""


class Folder:
    """A folder, held by its descriptor: whatever its path comes to mean, nothing else is touched.

    Only regular files in it: no symbolic link is followed or removed, no folder entered, and what
    begins with a dot belongs to somebody else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._fd = os.open(path, flags)
        except OSError as error:
            raise _refused(path, error) from error

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    def pages(self) -> Iterator[Page]:
        """See `Place.pages`.

        A change is also one of the inode: a file whose time lies in the future (a clock that
        jumped, a copy from elsewhere) is as old as it has been here.
        """
        names, changed, used, sizes = page = Page([], [], [], [])
        try:
            with os.scandir(self._fd) as entries:
                # Most of a run's time is spent in these lines: whole seconds by their place.
                for entry in entries:
                    name = entry.name
                    if name[0] == ".":
                        continue
                    try:
                        found = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if found[0] & _KIND != _REGULAR:
                        continue
                    written, born = found[8], found[9]
                    names.append(name)
                    changed.append(born if born < written else written)
                    used.append(found[7])
                    sizes.append(found[6])
                    if len(names) == PAGE:
                        yield page
                        names, changed, used, sizes = page = Page([], [], [], [])
        except OSError as error:
            raise _refused(self._path, error) from error
        yield page

    def remove(self, names: Sequence[str]) -> None:
        """See `Place.remove`."""
        folder, unlink = self._fd, os.unlink
        for name in names:
            try:
                unlink(name, dir_fd=folder)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _refused(self._path, error) from error

    def free_bytes(self) -> int | None:
        """See `Place.free_bytes`: what a process without privileges may use."""
        try:
            volume = os.fstatvfs(self._fd)
        except OSError as error:
            raise _refused(self._path, error) from error
        return volume.f_bavail * volume.f_frsize


class Objects:
    """An object store, listed page by page and deleted from in batches."""

    def __init__(self, settings: config.Store) -> None:
        # Only here: a folder needs none of it, and it is 15 MB.
        from cosyhost.store import bucket

        self._url = settings.url
        self._store: ObjectStore = bucket(settings)

    def __enter__(self) -> Objects:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return

    def pages(self) -> Iterator[Page]:
        """See `Place.pages`. No store says when an object was last read: at its birth, then."""
        import obstore

        def pages() -> Iterator[Page]:
            for listed in obstore.list(self._store, OUTPUTS, chunk_size=_BATCH):
                ours = [f for f in listed if not f["path"].rpartition("/")[2].startswith(".")]
                times = [found["last_modified"].timestamp() for found in ours]
                yield Page([f["path"] for f in ours], times, times, [f["size"] for f in ours])

        yield from self._guarded(pages)

    def remove(self, names: Sequence[str]) -> None:
        """See `Place.remove`."""
        import obstore

        def delete() -> Iterator[None]:
            for first in range(0, len(names), _BATCH):
                with contextlib.suppress(FileNotFoundError):
                    obstore.delete(self._store, list(names[first : first + _BATCH]))
            yield

        list(self._guarded(delete))

    def free_bytes(self) -> int | None:
        """Stores have no end."""
        return None

    def _guarded(self, work: Callable[[], Iterator[_T]]) -> Iterator[_T]:
        from obstore.exceptions import BaseError

        from cosyhost.store import reason

        try:
            yield from work()
        except (BaseError, OSError) as error:
            raise Problem(RETENTION_PLACE, place=self._url, reason=reason(error)) from error


def place_of(settings: config.Store) -> Folder | Objects:
    """The outputs of the store.

    Raises:
        Problem: RETENTION_PLACE, when they cannot be listed.
    """
    if settings.url.startswith("file://"):
        return Folder(Path(urlsplit(settings.url).path) / OUTPUTS)
    return Objects(settings)


def _refused(path: Path, error: OSError) -> Problem:
    return Problem(RETENTION_PLACE, place=path, reason=error.strerror or str(error))
