"""Where voices and outputs lie: a folder or an S3 bucket, through obstore."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

from cosyhost import config
from cosyhost.errors import STORAGE_FULL, STORE_UNAVAILABLE, Problem
from cosyhost.systemd import credential

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

__all__ = ["AlreadyExistsError", "Store", "bucket", "reason"]

log = logging.getLogger(__name__)

FOLDERS = ("voices", "outputs")
_RETRY_AFTER_S = 10
# Somebody waits for the answer: obstore's own patience is three minutes.
_RETRY_WITHIN = timedelta(seconds=10)
_RETRIES = 2


class Store:
    """Named blobs below `FOLDERS`. Writes are whole or not at all (a local write is a rename).

    A folder whose `FOLDERS` are gone is one whose volume is not mounted: nothing is written there,
    and what is not found is not said to be gone.
    """

    def __init__(self, settings: config.Store) -> None:
        self._folder: Path | None = None
        self._store: ObjectStore
        if settings.url.startswith("file://"):
            self._folder = Path(urlsplit(settings.url).path)
            if not self._folder.exists():
                for name in FOLDERS:
                    (self._folder / name).mkdir(parents=True)
            self._store = LocalStore(self._folder)
        else:
            self._store = bucket(settings)

    def put(self, key: str, data: bytes, *, new: bool = False) -> None:
        """Write `data`.

        Raises:
            AlreadyExistsError: when `new` and the key is taken.
            Problem: STORE_UNAVAILABLE or STORAGE_FULL.
        """
        self._prove(key)
        try:
            obstore.put(self._store, key, data, mode="create" if new else "overwrite")
        except AlreadyExistsError:
            raise
        except (BaseError, OSError) as error:
            raise _problem(error) from error

    def get(self, key: str) -> bytes | None:
        """The blob, or None if there is none.

        Raises:
            Problem: STORE_UNAVAILABLE.
        """
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except FileNotFoundError as error:
            self._prove(key, error)
            return None
        except (BaseError, OSError) as error:
            raise _problem(error) from error

    def file(self, key: str) -> Path | None:
        """The blob as a file to be read in place; None if it is no file here or not there."""
        path = None if self._folder is None else self._folder / key
        return path if path is not None and path.is_file() else None

    def exists(self, key: str) -> bool:
        """Whether the key is taken.

        Raises:
            Problem: STORE_UNAVAILABLE.
        """
        try:
            obstore.head(self._store, key)
        except FileNotFoundError as error:
            self._prove(key, error)
            return False
        except (BaseError, OSError) as error:
            raise _problem(error) from error
        return True

    def delete(self, key: str) -> None:
        """Remove the blob; none there is no error.

        Raises:
            Problem: STORE_UNAVAILABLE.
        """
        try:
            obstore.delete(self._store, key)
        except FileNotFoundError as error:
            self._prove(key, error)
        except (BaseError, OSError) as error:
            raise _problem(error) from error

    def keys(self, prefix: str) -> list[tuple[str, float]]:
        """All keys below `prefix` with their time of last change (Unix seconds).

        Raises:
            Problem: STORE_UNAVAILABLE.
        """
        self._prove(prefix)
        try:
            return [
                (meta["path"], meta["last_modified"].timestamp())
                for batch in obstore.list(self._store, prefix)
                for meta in batch
            ]
        except (BaseError, OSError) as error:
            raise _problem(error) from error

    def free_bytes(self) -> int | None:
        """What may still be written here; None for a store without an end.

        Raises:
            Problem: STORE_UNAVAILABLE.
        """
        if self._folder is None:
            return None
        try:
            volume = os.statvfs(self._folder / "outputs")
        except OSError as error:
            raise _problem(error) from error
        return volume.f_bavail * volume.f_frsize

    def used(self, key: str) -> None:
        """Note that somebody is given the blob now, so that retention lets them finish."""
        if (path := self.file(key)) is not None:
            with contextlib.suppress(OSError):  # gone meanwhile, or not ours to date
                os.utime(path, (time.time(), path.stat().st_mtime))

    def check(self) -> None:
        """Prove that the store takes a write.

        Raises:
            Problem: STORE_UNAVAILABLE or STORAGE_FULL.
        """
        self.put("outputs/.ready", b"")

    def _prove(self, key: str, missing: FileNotFoundError | None = None) -> None:
        """Return if the store is there, although the key may be `missing`.

        Raises:
            Problem: STORE_UNAVAILABLE.
        """
        if self._folder is None:
            if missing is not None and "NoSuchBucket" in str(missing):
                raise _problem(missing) from missing
            return
        try:
            (self._folder / key.partition("/")[0]).stat()
        except OSError as error:
            raise _problem(error) from error


def bucket(settings: config.Store) -> S3Store:
    """The bucket and prefix of an `s3://` URL.

    The key comes as the credential `store_key`: its id and its secret, a line each.
    """
    url = urlsplit(settings.url)
    key_id, _, secret = (credential("store_key") or "").partition("\n")
    host = urlsplit(settings.endpoint).hostname or ""
    s3: S3Config = {
        "access_key_id": key_id,
        "secret_access_key": secret,
        "region": settings.region,
        # Some stores (Aliyun's) want the bucket in the host's name; the endpoint shows it then.
        "virtual_hosted_style_request": host.startswith(f"{url.netloc}."),
        # The same: deletions one by one are what every store understands.
        "disable_bulk_delete": True,
    }
    if settings.endpoint:
        s3["endpoint"] = settings.endpoint
    client: ClientConfig = {
        "allow_http": settings.endpoint.startswith("http://"),
        "connect_timeout": "3s",
        "read_timeout": "10s",
        "timeout": "60s",
    }
    retries: RetryConfig = {"max_retries": _RETRIES, "retry_timeout": _RETRY_WITHIN}
    return S3Store(
        url.netloc,
        prefix=url.path.strip("/") or None,
        config=s3,
        client_options=client,
        retry_config=retries,
    )


def reason(error: Exception) -> str:
    """What a store said, in one line for operators; it holds no secret."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def _problem(error: Exception) -> Problem:
    log.warning("the store: %s", reason(error))
    full = (errno.ENOSPC, errno.EDQUOT)
    if getattr(error, "errno", None) in full or any(f"os error {n})" in str(error) for n in full):
        return Problem(STORAGE_FULL, retry_after_s=_RETRY_AFTER_S)
    return Problem(STORE_UNAVAILABLE, retry_after_s=_RETRY_AFTER_S)
