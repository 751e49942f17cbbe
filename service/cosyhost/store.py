"""Where voices and outputs lie: a folder or any object store, through obstore."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, from_url

from cosyhost.errors import STORE_UNAVAILABLE, Problem

__all__ = ["AlreadyExistsError", "Store"]


class Store:
    """Named blobs. Writes are whole or not at all (a local write is a rename)."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._folder: Path | None = None
        if parts.scheme == "file":
            self._folder = Path(parts.path)
            self._folder.mkdir(parents=True, exist_ok=True)
            self._store: obstore.store.ObjectStore = LocalStore(self._folder)
        else:
            self._store = from_url(url)

    def put(self, key: str, data: bytes, *, new: bool = False) -> None:
        """Write `data`.

        Raises:
            AlreadyExistsError: when `new` and the key is taken.
            Problem: STORE_UNAVAILABLE.
        """
        try:
            obstore.put(self._store, key, data, mode="create" if new else "overwrite")
        except AlreadyExistsError:
            raise
        except (BaseError, OSError) as error:
            raise Problem(STORE_UNAVAILABLE) from error

    def get(self, key: str) -> bytes | None:
        """The blob, or None if there is none.

        Raises:
            Problem: STORE_UNAVAILABLE.
        """
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise Problem(STORE_UNAVAILABLE) from error

    def file(self, key: str) -> Path | None:
        """The blob as a file to be read in place; None if it is no file here or not there."""
        path = None if self._folder is None else self._folder / key
        return path if path is not None and path.is_file() else None

    def exists(self, key: str) -> bool:
        """Whether the key is taken."""
        try:
            obstore.head(self._store, key)
        except FileNotFoundError:
            return False
        except (BaseError, OSError) as error:
            raise Problem(STORE_UNAVAILABLE) from error
        return True

    def delete(self, key: str) -> None:
        """Remove the blob; none there is no error."""
        try:
            obstore.delete(self._store, key)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise Problem(STORE_UNAVAILABLE) from error

    def keys(self, prefix: str) -> list[tuple[str, float]]:
        """All keys below `prefix` with their time of last change (Unix seconds)."""
        try:
            return [
                (meta["path"], meta["last_modified"].timestamp())
                for batch in obstore.list(self._store, prefix)
                for meta in batch
            ]
        except (BaseError, OSError) as error:
            raise Problem(STORE_UNAVAILABLE) from error

    def free_bytes(self) -> int | None:
        """What may still be written here; None for a store without an end.

        Raises:
            Problem: STORE_UNAVAILABLE.
        """
        if self._folder is None:
            return None
        try:
            volume = os.statvfs(self._folder)
        except OSError as error:
            raise Problem(STORE_UNAVAILABLE) from error
        return volume.f_bavail * volume.f_frsize

    def used(self, key: str) -> None:
        """Note that somebody is given the blob now, so that retention lets them finish."""
        if (path := self.file(key)) is not None:
            with contextlib.suppress(OSError):  # gone meanwhile, or not ours to date
                os.utime(path, (time.time(), path.stat().st_mtime))

    def check(self) -> None:
        """Prove that the store takes a write.

        Raises:
            Problem: STORE_UNAVAILABLE.
        """
        self.put("outputs/.ready", b"")
