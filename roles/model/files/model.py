"""Brings a model to a host and keeps it whole; runs on the host's own Python, nothing else.

    model.py check    --manifest FILE|JSON --to DIR
    model.py fetch    --manifest FILE --to DIR --source KIND [--location WHERE] --progress FILE
    model.py manifest DIR --name NAME

A manifest names each file with its size in bytes and its SHA-256, so where the bytes come from
does not matter. The hubs' own clients are not used: they check sizes or trust what the hub says,
and each shows its progress in another way.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

# Where the hubs are; `--location` names a mirror instead.
ENDPOINTS = {"modelscope": "https://modelscope.cn", "huggingface": "https://huggingface.co"}
SOURCES = (*ENDPOINTS, "url", "path", "bundle")
CHECKED = ".checked.json"
CHUNK = 1 << 20
# Left free for everything else on the disk.
SPARE_BYTES = 64 << 20
SILENCE_S = 60
# Attempts in a row that bring nothing before a file is given up; one that brings bytes starts anew.
ATTEMPTS = 6


class Failure(Exception):
    """What stops a fetch: a stable code, both languages, the next step in each."""

    def __init__(self, code: str, english: str, chinese: str) -> None:
        super().__init__(f"[COSY-MODEL-{code}] {english} {chinese}")


@dataclass(frozen=True)
class Item:
    """One file of a model: its path in it, bytes, SHA-256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A model: its name, its files, and where the hubs have it."""

    name: str
    items: tuple[Item, ...]
    hubs: dict[str, dict[str, str]]

    @classmethod
    def read(cls, given: str) -> Manifest:
        """Take a manifest from a file, or as JSON.

        Raises:
            Failure: MANIFEST.
        """
        try:
            data = json.loads(given if given.lstrip().startswith("{") else Path(given).read_text())
            items = tuple(
                Item(path, int(about["size"]), str(about["sha256"]).lower())
                for path, about in data["files"].items()
            )
            hubs = {hub: data[hub] for hub in ENDPOINTS if hub in data}
            name = str(data["name"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _bad_manifest(f"{type(error).__name__}: {error}") from None
        for item in items:
            parts = PurePosixPath(item.path).parts
            if not parts or item.path.startswith("/") or ".." in parts or parts[0].startswith("."):
                raise _bad_manifest(f"path {item.path!r}")
            if not re.fullmatch("[0-9a-f]{64}", item.sha256) or item.size < 0:
                raise _bad_manifest(f"size or sha256 of {item.path}")
        if not items:
            raise _bad_manifest("no files")
        return cls(name, items, hubs)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(item.size for item in self.items)


def _bad_manifest(reason: str) -> Failure:
    return Failure(
        "MANIFEST",
        f"The manifest cannot be used ({reason}). Write one with `model.py manifest DIR --name N`.",
        f"模型清单无效（{reason}），请用 `model.py manifest 目录 --name 名称` 重新生成。",
    )


# What is there


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    summed = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            summed.update(block)
    return summed.hexdigest()


def _identity(path: Path) -> list[int]:
    """What changes when a file does: bytes, time of change in ns, inode."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def wrong(manifest: Manifest, folder: Path) -> list[Item]:
    """The files that are missing or not what the manifest says.

    A file that was hashed before and has not changed since is not hashed again; what is known is
    kept in the folder where that can be written.
    """
    notes = folder / CHECKED
    try:
        known = json.loads(notes.read_text())
    except (OSError, ValueError):
        known = {}
    fresh: dict[str, Any] = {}
    bad = []
    for item in manifest.items:
        path = folder / item.path
        try:
            about = [item.sha256, *_identity(path)]
            right = about[1] == item.size and (
                known.get(item.path) == about or digest(path) == item.sha256
            )
        except OSError:
            right = False
        if right:
            fresh[item.path] = about
        else:
            bad.append(item)
    if fresh and fresh != known:
        with contextlib.suppress(OSError):
            _write(notes, fresh)
    return bad


def _write(path: Path, data: object) -> None:
    """Put JSON into a file, whole or not at all."""
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(json.dumps(data, ensure_ascii=False))
    draft.replace(path)


# Progress


class Progress:
    """Tells a file how far a fetch is: bytes, bytes a second, seconds left, and a line to show."""

    def __init__(self, path: Path, total: int) -> None:
        self._path, self._total, self._done = path, total, 0
        self._seen: deque[tuple[float, int]] = deque()
        self._shown = 0.0

    def start(self, done: int) -> None:
        """What is there already; rates count from here."""
        self._done = done
        self._seen = deque([(time.monotonic(), done)])

    def add(self, count: int, name: str) -> None:
        """`count` more bytes of `name` (fewer, if negative) are there."""
        self._done += count
        now = time.monotonic()
        if now - self._shown < 1 and count >= 0:
            return
        self._shown = now
        self._seen.append((now, self._done))
        while len(self._seen) > 2 and now - self._seen[0][0] > 30:
            self._seen.popleft()
        began, first = self._seen[0]
        rate = max(0.0, (self._done - first) / (now - began)) if now > began else 0.0
        left = (self._total - self._done) / rate if rate > 1 else None
        self.say("running", self.line(rate, left, name), rate=rate, left_s=left)

    def line(self, rate: float, left: float | None, name: str) -> str:
        """One line for people; megabytes are 10^6 bytes, as networks count."""
        share = 100 * self._done / self._total if self._total else 100
        eta = ""
        if left is not None:
            minutes, seconds = divmod(int(left), 60)
            eta = f", {minutes} min {seconds:02d} s left 剩余 {minutes} 分 {seconds:02d} 秒"
        return f"{share:5.1f} % of {self._total / 1e6:.0f} MB, {rate / 1e6:.1f} MB/s{eta} ({name})"

    def say(self, state: str, text: str, **figures: float | None) -> None:
        """Write state (running, done, failed) and line; a full disk must not stop the telling."""
        with contextlib.suppress(OSError):
            known = {"state": state, "text": text, "done": self._done, "total": self._total}
            _write(self._path, known | figures)


# Where it comes from

Opened = tuple[IO[bytes] | http.client.HTTPResponse, int]
Opener = Callable[[Item, int], Opened]


def opener(manifest: Manifest, source: str, location: str) -> Opener:
    """A function that opens a file at an offset and says at which it really begins."""
    if source == "path":
        return lambda item, offset: _open_file(Path(location) / item.path, offset)
    if source == "bundle":
        return _not_in_bundle
    if source in ENDPOINTS:
        if source not in manifest.hubs:
            raise _bad_manifest(f"it does not say where {source} has the model")
        hub = manifest.hubs[source]
        base = (location or ENDPOINTS[source]).rstrip("/")
        prefix = "/models" if source == "modelscope" else ""
        base += f"{prefix}/{hub['repository']}/resolve/{hub['revision']}"
    else:
        base = location.rstrip("/")
    if urllib.parse.urlsplit(base).scheme not in ("http", "https"):
        raise Failure("SOURCE", f"{base} is no http(s) address.", f"{base} 不是 http(s) 地址。")
    return lambda item, offset: _open_url(f"{base}/{urllib.parse.quote(item.path)}", offset)


def _not_in_bundle(item: Item, _offset: int) -> Opened:
    raise Failure(
        "SOURCE",
        f"The bundle lacks {item.path}, or what it has is damaged. Make the bundle again.",
        f"离线包缺少 {item.path}，或其内容已损坏，请重新制作离线包。",
    )


def _open_file(path: Path, offset: int) -> Opened:
    try:
        file = path.open("rb")
    except OSError as error:
        raise Failure(
            "SOURCE",
            f"{path}: {error.strerror}. The folder must hold every file of the manifest and be "
            "readable by the user cosyhost.",
            f"{path}：{error.strerror}。该目录须包含清单中的全部文件，并允许用户 cosyhost 读取。",
        ) from None
    file.seek(offset)
    return file, offset


def _open_url(url: str, offset: int) -> Opened:
    request = urllib.request.Request(url, headers={"User-Agent": "cosyhost"})
    if offset:
        request.add_header("Range", f"bytes={offset}-")
    try:
        answer = urllib.request.urlopen(request, timeout=SILENCE_S)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return _open_url(url, 0)
        if error.code in (408, 425, 429) or error.code >= 500:
            raise
        raise Failure(
            "SOURCE",
            f"{url}: HTTP {error.code} {error.reason}. Check repository and revision in the "
            "manifest, and model_location.",
            f"{url} 返回 HTTP {error.code}，请检查清单中的仓库与版本，以及 model_location。",
        ) from None
    # 200 to a Range request is the whole file.
    return answer, offset if answer.status == 206 else 0


# Fetching


def fetch(manifest: Manifest, to: Path, source: str, location: str, progress: Path) -> None:
    """Make `to` hold the model; what is good there stays until all of the new is there.

    Files come into a folder beside it, each resumed where it broke off, and the folder is renamed
    when every file has its SHA-256.

    Raises:
        Failure: MANIFEST, SOURCE, SHA, DISK.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    tell = Progress(progress, manifest.size)
    with (to.parent / f".{to.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            _fetch(manifest, to, opener(manifest, source, location), tell)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            failure = _no_room(to.parent, 0)
            tell.say("failed", str(failure))
            raise failure from None
        except Failure as failure:
            tell.say("failed", str(failure))
            raise
        tell.say("done", f"{manifest.name} is complete: {manifest.size / 1e6:.0f} MB")


def _fetch(manifest: Manifest, to: Path, open_at: Opener, tell: Progress) -> None:
    lacking = wrong(manifest, to)
    if not lacking:
        return
    draft = to.parent / f".{to.name}.partial"
    draft.mkdir(exist_ok=True)
    for item in manifest.items:
        if item not in lacking and not (draft / item.path).exists():
            (draft / item.path).parent.mkdir(parents=True, exist_ok=True)
            os.link(to / item.path, draft / item.path)
    lacking = wrong(manifest, draft)
    parts = {item: _part(draft, item) for item in lacking}
    here = {item: part.stat().st_size for item, part in parts.items() if part.exists()}
    missing = sum(item.size - min(item.size, here.get(item, 0)) for item in lacking)
    if shutil.disk_usage(to.parent).free < missing + SPARE_BYTES:
        raise _no_room(to.parent, missing + SPARE_BYTES)
    tell.start(manifest.size - missing)
    for item, part in parts.items():
        _bring(item, part, open_at, tell)
        part.replace(draft / item.path)
    if wrong(manifest, draft):
        raise _not_the_one(manifest.name)
    # Only what is damaged is ever moved away.
    old = to.parent / f".{to.name}.damaged"
    shutil.rmtree(old, ignore_errors=True)
    if to.exists():
        to.replace(old)
    draft.replace(to)
    shutil.rmtree(old, ignore_errors=True)


def _part(draft: Path, item: Item) -> Path:
    path = draft / f"{item.path}.part"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _bring(item: Item, part: Path, open_at: Opener, tell: Progress) -> None:
    """Bring one file to `part`, through cuts, and prove it; a wrong one is fetched once more."""
    for again in (False, True):
        _complete(item, part, open_at, tell)
        if digest(part) == item.sha256:
            return
        tell.add(-part.stat().st_size, item.path)
        part.unlink()
        if again:
            raise _not_the_one(item.path)


def _complete(item: Item, part: Path, open_at: Opener, tell: Progress) -> None:
    """Read until `part` has all bytes."""
    failed = 0
    with part.open("ab") as file:
        while (offset := file.tell()) != item.size:
            if offset > item.size:
                file.truncate(0)
                file.seek(0)
                continue
            try:
                for block in _blocks(item, offset, file, open_at, tell):
                    file.write(block)
                    tell.add(len(block), item.path)
                reason = "the connection was cut"
            except (
                urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError
            ) as error:  # fmt: skip
                reason = str(error)
            file.flush()
            failed = 0 if file.tell() > offset else failed + 1
            if failed == ATTEMPTS:
                raise Failure(
                    "SOURCE",
                    f"{item.path} does not come: {reason}. Check the network and "
                    "model_location (a mirror); what has arrived is kept.",
                    f"{item.path} 无法下载：{reason}。请检查网络与 model_location（镜像），"
                    "已下载的部分会保留。",
                )
            if file.tell() < item.size:
                time.sleep(min(30, 2**failed) if failed else 0.2)
        os.fsync(file.fileno())


def _blocks(
    item: Item, offset: int, file: IO[bytes], open_at: Opener, tell: Progress
) -> Iterator[bytes]:
    """The rest of a file as it arrives; never more than belongs to it."""
    stream, begins = open_at(item, offset)
    with stream:
        if begins != offset:
            tell.add(-offset, item.path)
            file.truncate(0)
            file.seek(0)
        left = item.size - begins
        while left and (block := stream.read(min(CHUNK, left))):
            left -= len(block)
            yield block


def _no_room(folder: Path, wanted: int) -> Failure:
    free = shutil.disk_usage(folder).free
    need = f"; {wanted / 1e6:.0f} MB are needed" if wanted else ""
    need_zh = f"，需要 {wanted / 1e6:.0f} MB" if wanted else ""
    return Failure(
        "DISK",
        f"{folder} has {free / 1e6:.0f} MB free{need}. Free some or mount a larger volume there; "
        "what has arrived is kept, and the model in use is untouched.",
        f"{folder} 剩余 {free / 1e6:.0f} MB{need_zh}。请清理或挂载更大的卷；已下载的部分会保留，"
        "正在使用的模型不受影响。",
    )


def _not_the_one(name: str) -> Failure:
    return Failure(
        "SHA",
        f"{name} is not what the manifest names: its SHA-256 differs, twice. Take another source "
        "or mirror; if the model was meant to change, commit a manifest of the new one.",
        f"{name} 的 SHA-256 两次与清单不符。请更换来源或镜像；若确要更换模型，请提交新的清单。",
    )


# The command


def describe(folder: Path, name: str) -> dict[str, Any]:
    """The manifest of a folder."""
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
    )
    return {
        "name": name,
        "files": {
            path.relative_to(folder).as_posix(): {
                "size": path.stat().st_size,
                "sha256": digest(path),
            }
            for path in found
        },
    }


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; 0 well, 1 with what is wrong on standard error."""
    parser = argparse.ArgumentParser(prog="model.py")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("check", "fetch"):
        one = verbs.add_parser(verb)
        one.add_argument("--manifest", required=True)
        one.add_argument("--to", type=Path, required=True)
    one.add_argument("--source", choices=SOURCES, required=True)
    one.add_argument("--location", default="")
    one.add_argument("--progress", type=Path, required=True)
    written = verbs.add_parser("manifest")
    written.add_argument("folder", type=Path)
    written.add_argument("--name", required=True)
    given = parser.parse_args(arguments)
    try:
        if given.verb == "manifest":
            print(json.dumps(describe(given.folder, given.name), indent=2, ensure_ascii=False))
            return 0
        manifest = Manifest.read(given.manifest)
        if given.verb == "check":
            bad = [item.path for item in wrong(manifest, given.to)]
            print(json.dumps({"wrong": bad, "there": given.to.is_dir()}))
        else:
            fetch(manifest, given.to, given.source, given.location, given.progress)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
