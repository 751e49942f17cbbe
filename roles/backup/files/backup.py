"""A host's backup through restic: made, looked after, put back. Its own Python, nothing else.

    backup.py prove [--make]    the repository answers and takes the password
    backup.py run               save; each week also forget what is old, and check the repository
    backup.py restore --host NAME [--snapshot ID] [--dry-run] [--configuration]

What is saved is said in /etc/cosyhost/backup.json; where to, and with what, in the credentials,
which no command line and no log ever shows. `restore` adds what the host lacks: it replaces and
deletes nothing, so that it can be broken off and begun again.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SETTINGS = Path("/etc/cosyhost/backup.json")
CREDENTIALS = Path("/etc/cosyhost/credentials")
STATE = Path("/var/lib/cosyhost-backup")
CACHE = Path("/var/cache/cosyhost-backup")
STAGE = Path("/var/lib/cosyhost/.restore")
RELEASE = Path("/opt/cosyhost/current")
CONFIGURATION = Path("/etc/cosyhost")

# restic itself would go on trying for a quarter of an hour.
PATIENCE_S = 60
CHECK_EVERY_S = 7 * 86400 - 3600
# Each check reads this share of the data, each time another one.
CHECK_PARTS = 10
INCOMPLETE = 3
BLOCK_BYTES = 1 << 20


class Failure(Exception):
    """What stops the work: a stable code, and what to do next in both languages."""

    def __init__(self, code: str, english: str, chinese: str) -> None:
        super().__init__(f"[COSY-BACKUP-{code}] {english} {chinese}")
        self.code = f"COSY-BACKUP-{code}"


def _not_installed() -> Failure:
    return Failure(
        "NOT-INSTALLED",
        "Backups are not set up on this host. Set backup_repository and run site.yml first.",
        "本机尚未设置备份，请先设置 backup_repository 并运行 site.yml。",
    )


@dataclass(frozen=True)
class Settings:
    """The host's name in the repository, what is saved, how often, and how much is kept.

    `store_here`: the voices lie in a folder of this host.
    """

    host: str
    paths: list[str]
    store_here: bool
    period_s: int
    keep: dict[str, int]

    @classmethod
    def read(cls) -> Settings:
        """What the role has written.

        Raises:
            Failure: NOT-INSTALLED.
        """
        try:
            return cls(**json.loads(SETTINGS.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise _not_installed() from None


@dataclass
class Record:
    """What the last run left for the exporter and for the next one; times are Unix seconds."""

    period_s: int
    ended: float | None = None
    run_seconds: float = 0.0
    snapshot: str = ""
    files: int = 0
    bytes: int = 0
    new_files: int = 0
    added_bytes: int = 0
    checked: float | None = None
    problem: str = ""

    @property
    def summary(self) -> str:
        """For people, in both languages."""
        if self.problem or self.ended is None:
            return self.problem or "no backup was made yet. 尚未备份。"
        if not self.snapshot:
            return "nothing to save yet: no voice is here. 暂无可备份的内容：本机还没有音色。"
        return (
            f"snapshot {self.snapshot}: {self.files:,} files, {self.bytes / 1e6:,.1f} MB; new: "
            f"{self.new_files:,} files, {self.added_bytes / 1e6:,.1f} MB; {self.run_seconds:.1f} s."
            f" 快照 {self.snapshot}：{self.files:,} 个文件，新增 {self.added_bytes / 1e6:,.1f} MB，"
            f"用时 {self.run_seconds:.1f} 秒。"
        )

    @classmethod
    def read(cls, period_s: int) -> Record:
        """The last one, or a new one."""
        try:
            known = json.loads((STATE / "last.json").read_text(encoding="utf-8"))
            del known["summary"]
            return cls(**(known | {"period_s": period_s}))
        except (OSError, ValueError, TypeError, KeyError):
            return cls(period_s)

    def write(self) -> None:
        """Whole or not at all: the exporter may read it at any moment."""
        STATE.mkdir(mode=0o755, exist_ok=True)
        new = STATE / ".last.json"
        told = {**asdict(self), "summary": self.summary}
        new.write_text(json.dumps(told, ensure_ascii=False) + "\n", encoding="utf-8")
        new.chmod(0o644)
        new.replace(STATE / "last.json")


# The repository


@dataclass(frozen=True)
class Said:
    """What restic answered."""

    status: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The line that says most; where ssh ended, restic only knows that it did."""
        lines = [line for line in self.err.splitlines() if line.strip()] or ["it said nothing"]
        ssh = [line for line in lines if line.startswith("subprocess ssh: ")]
        if ssh and "sftp session" in lines[-1]:
            return ssh[-1].removeprefix("subprocess ").strip()[:300]
        fatal = [line for line in lines if line.startswith("Fatal")]
        return (fatal or lines)[-1].removeprefix("Fatal: ")[:300]

    def documents(self) -> Iterator[dict[str, Any]]:
        """The JSON objects among its lines."""
        for line in (self.out + self.err).splitlines():
            if line.startswith("{"):
                yield json.loads(line)


class Repository:
    """restic with this host's credentials."""

    def __init__(self) -> None:
        folder = Path(os.environ.get("CREDENTIALS_DIRECTORY", CREDENTIALS))
        self.where = (folder / "backup_repository").read_text(encoding="utf-8").strip()
        more = json.loads((folder / "backup_environment").read_text(encoding="utf-8"))
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(CACHE),
            "RESTIC_REPOSITORY_FILE": str(folder / "backup_repository"),
            "RESTIC_PASSWORD_FILE": str(folder / "backup_password"),
            "RESTIC_CACHE_DIR": str(CACHE),
            **{str(name): str(value) for name, value in more.items()},
        }
        self._ssh = _ssh(self.where, folder)
        through = ["-o", f"sftp.command={' '.join(self._ssh)}"] if self._ssh else []
        self._command = ["restic", *through]

    @property
    def shown(self) -> str:
        """The address without a password in it."""
        return re.sub(r"(//[^/:@]*):[^/@]*@", r"\1:***@", self.where)

    def ask(self, *arguments: str, timeout: float | None = None) -> Said:
        """Run restic, whatever comes of it."""
        try:
            ran = subprocess.run(
                [*self._command, *arguments], env=self._environment, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, errors="replace", timeout=timeout, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as late:
            err = late.stderr.decode("utf-8", "replace") if late.stderr else ""
            return Said(-1, "", err or f"no answer in {timeout:g} s")
        except FileNotFoundError:
            raise _not_installed() from None
        return Said(ran.returncode, ran.stdout, self._why(ran.stderr))

    def _why(self, words: str) -> str:
        """restic may end before it has passed on why ssh did: then ssh is asked itself."""
        if not self._ssh or "sftp session" not in words or "subprocess ssh: " in words:
            return words
        try:
            ran = subprocess.run(
                self._ssh, env=self._environment, stdin=subprocess.DEVNULL, capture_output=True,
                text=True, errors="replace", timeout=PATIENCE_S, check=False,
            )  # fmt: skip
        except (subprocess.TimeoutExpired, FileNotFoundError):
            return words
        said = [line for line in ran.stderr.splitlines() if line.strip()]
        return "".join(f"subprocess ssh: {line}\n" for line in said) + words

    def must(self, *arguments: str, timeout: float | None = None) -> Said:
        """Run restic, which must succeed.

        Raises:
            Failure: PASSWORD, NO-REPOSITORY, LOCKED, FULL, UNREACHABLE or BROKEN.
        """
        said = self.ask(*arguments, timeout=timeout)
        if said.status:
            raise self.wrong(said, arguments[0])
        return said

    def open(self) -> None:
        """See that it answers and takes the password; see `must`."""
        self.must("cat", "config", "--quiet", timeout=PATIENCE_S)

    def make(self) -> bool:
        """Open it; where there is none, make it. Returns whether it was made."""
        said = self.ask("cat", "config", "--quiet", timeout=PATIENCE_S)
        if not said.status:
            return False
        failure = self.wrong(said, "cat")
        if failure.code != "COSY-BACKUP-NO-REPOSITORY":
            raise failure
        self.must("init", "--quiet", timeout=PATIENCE_S)
        return True

    def wrong(self, said: Said, verb: str) -> Failure:
        """What is wrong, by restic's words: before 0.17 it has one status for all."""
        words, shown = said.err, self.shown
        if said.status == 12 or "wrong password" in words:
            return Failure(
                "PASSWORD",
                f"The repository {shown} does not take backup_password. Give the one it was made "
                "with (secrets/backup_password.txt of the inventory that made it, or your vault).",
                f"仓库 {shown} 不接受 backup_password，请使用创建该仓库时的密码"
                "（当时清单的 secrets/backup_password.txt，或您的 vault）。",
            )
        absent = re.search(r"does not exist|no such file|\b404\b|NoSuch|key not found", words)
        if said.status == 10 or ("Is there a repository" in words and absent):
            return Failure(
                "NO-REPOSITORY",
                f"There is no repository at {shown}. Correct backup_repository, or mount its "
                "volume; a new one is made by site.yml only.",
                f"{shown} 处没有备份仓库。请改正 backup_repository 或挂载其所在卷；"
                "只有 site.yml 会新建仓库。",
            )
        if said.status == 11 or "already locked" in words:
            return Failure(
                "LOCKED",
                f"Another backup works on {shown}: {said.last}. Try again when it has ended.",
                f"另一个备份任务正在使用 {shown}，请待其结束后重试。",
            )
        if "no space left" in words:
            return Failure(
                "FULL",
                f"{shown}, or this host's disk, is full: {said.last}. Make room, or lower "
                "backup_keep.",
                f"{shown} 或本机磁盘已满，请清理空间或调低 backup_keep。",
            )
        if verb in ("check", "restore", "ls", "stats", "snapshots"):
            return Failure(
                "BROKEN",
                f"{shown} is damaged or was cut while `restic {verb}` read it: {said.last}. Try "
                "again, or name an older snapshot (-e restore_snapshot=ID); `restic check "
                "--read-data` says what is lost.",
                f"执行 restic {verb} 时发现 {shown} 已损坏或读取中断。请重试，或用 "
                "-e restore_snapshot=ID 指定更早的快照；restic check --read-data 可查明损失。",
            )
        return Failure(
            "UNREACHABLE",
            f"{shown} cannot be used: {said.last}. Check the address, the line to it, and its "
            "credentials in group_vars/all/backup.yml.",
            f"无法使用 {shown}，请检查地址、网络以及 group_vars/all/backup.yml 中的凭据。",
        )


def _ssh(where: str, folder: Path) -> list[str]:
    """For sftp: ssh with this service's key and known hosts, and nobody's settings; else none."""
    if not where.startswith("sftp:"):
        return []
    parts = urlsplit(where)
    if parts.netloc:
        user, _, _ = parts.netloc.rpartition("@")
        to = [f"{user}@{parts.hostname}" if user else str(parts.hostname)]
        to += [f"-p{parts.port}"] if parts.port else []
    else:
        to = [where.removeprefix("sftp:").partition(":")[0]]
    return [
        "ssh", "-F", "none", "-i", f"{folder}/backup_ssh_key", "-oIdentitiesOnly=yes",
        f"-oUserKnownHostsFile={folder}/backup_known_hosts", "-oGlobalKnownHostsFile=/dev/null",
        "-oStrictHostKeyChecking=yes", "-oBatchMode=yes", "-oConnectTimeout=20",
        "-oServerAliveInterval=15", *to, "-s", "sftp",
    ]  # fmt: skip


# Saving


def run(settings: Settings) -> Record:
    """Save what there is to save, look after the repository when it is time, and note it all.

    Raises:
        Failure: noted too.
    """
    began, record = time.monotonic(), Record.read(settings.period_s)
    try:
        repository = Repository()
        repository.open()
        _save(repository, settings, record)
        if record.checked is None or time.time() - record.checked > CHECK_EVERY_S:
            _look_after(repository, settings)
            record.checked = time.time()
    except Failure as failure:
        record.problem = str(failure)
        record.write()
        raise
    record.ended, record.problem = time.time(), ""
    record.run_seconds = round(time.monotonic() - began, 3)
    record.write()
    return record


def _save(repository: Repository, settings: Settings, record: Record) -> None:
    paths = [path for path in settings.paths if os.path.lexists(path)]
    if settings.store_here and not any(True for path in paths for _ in _files(Path(path))):
        # A bare host that takes over a name: its emptiness must not become the latest snapshot.
        record.snapshot, record.files, record.bytes = "", 0, 0
        record.new_files = record.added_bytes = 0
        return
    kept = _copied_release()
    arguments = [
        "backup", "--json", f"--host={settings.host}", "--tag=cosyhost",
        f"--exclude={CONFIGURATION}/credentials/backup_*",  # a key within what it locks
        *paths, str(CONFIGURATION), *([str(kept)] if kept else []),
    ]  # fmt: skip
    said = repository.ask(*arguments)
    if said.status == INCOMPLETE:  # something was deleted while it was read
        said = repository.ask(*arguments)
    if said.status == INCOMPLETE:
        lost = [d.get("item", "") for d in said.documents() if d.get("message_type") == "error"]
        raise Failure(
            "INCOMPLETE",
            f"Not all could be read: {', '.join(lost[:5]) or said.last}. Mend these files or the "
            "disk; the rest was saved.",
            f"部分文件无法读取：{'、'.join(lost[:5])}。请修复文件或磁盘；其余内容已备份。",
        )
    if said.status:
        raise repository.wrong(said, "backup")
    told = [d for d in said.documents() if d.get("message_type") == "summary"][-1]
    record.snapshot = told["snapshot_id"][:8]
    record.files, record.bytes = told["total_files_processed"], told["total_bytes_processed"]
    record.new_files, record.added_bytes = told["files_new"], told["data_added"]


def _copied_release() -> Path | None:
    """The release's configuration under a name that stays the same over releases."""
    source, copy = RELEASE / "config", STATE / "release"
    if not source.is_dir():
        return None
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(mode=0o700, parents=True)
    for path in (RELEASE / "RELEASE.json", *sorted(source.iterdir())):
        if path.is_file():
            shutil.copy2(path, copy / path.name)
    return copy


def _look_after(repository: Repository, settings: Settings) -> None:
    """Remove what is too old and prove the rest, a part of it each time."""
    keep = [f"--keep-{what}={count}" for what, count in settings.keep.items() if count]
    repository.must("unlock", "--quiet")  # of runs that are dead, no other
    repository.must(
        "forget", "--quiet", "--prune", f"--host={settings.host}", "--group-by=host", *keep
    )
    part = int(time.time() // (7 * 86400)) % CHECK_PARTS + 1
    repository.must("check", "--quiet", f"--read-data-subset={part}/{CHECK_PARTS}")


def _files(path: Path) -> Iterator[Path]:
    """Every file at or below a path."""
    if path.is_file():
        yield path
        return
    for folder, _, names in os.walk(path):
        yield from (Path(folder) / name for name in names)


# Putting back


@dataclass
class Restored:
    """What a restore did, or would do."""

    snapshot: str
    host: str
    time: str
    placed: int = 0
    bytes: int = 0
    there: int = 0
    left_out: list[str] = field(default_factory=list)
    configuration: str = ""

    def summary(self, dry: bool) -> str:
        """For people, in both languages."""
        will = ("would be put back", "将恢复") if dry else ("put back", "已恢复")
        lines = [
            f"from snapshot {self.snapshot} of {self.host} ({self.time}): {self.placed:,} files "
            f"{will[0]}, {self.bytes / 1e6:,.1f} MB; {self.there:,} were there and stay as they "
            f"are. 快照 {self.snapshot}：{will[1]} {self.placed:,} 个文件，"
            f"{self.there:,} 个已存在，保持原样。"
        ]
        if self.left_out:
            lines.append(f"Left out, 未恢复: {'; '.join(self.left_out)}")
        if self.configuration:
            lines.append(
                f"The saved configuration lies in {self.configuration}, for root; remove it when "
                f"done. 备份的配置在 {self.configuration}，用完请删除。"
            )
        return " ".join(lines)


def restore(
    settings: Settings, host: str, wanted: str, *, dry: bool, configuration: bool
) -> Restored:
    """Add what the host lacks from a snapshot, all of it proved before anything is added.

    Raises:
        Failure: what `Repository.must` raises, NO-SNAPSHOT or ROOM.
    """
    repository = Repository()
    repository.open()
    snapshot = _chosen(repository, host, wanted)
    done = Restored(snapshot["short_id"], snapshot["hostname"], snapshot["time"][:19])
    listed = [
        node for node in repository.must("ls", "--json", snapshot["id"]).documents()
        if node.get("type") == "file"
        and any(node["path"] == p or node["path"].startswith(f"{p}/") for p in settings.paths)
    ]  # fmt: skip
    lacking = [node for node in listed if not os.path.lexists(node["path"])]
    done.there = len(listed) - len(lacking)
    if dry:
        done.placed = len(lacking)
        done.bytes = sum(node.get("size", 0) for node in lacking)
        return done
    if lacking:
        _room(sum(node.get("size", 0) for node in listed))
        try:
            _staged(repository, snapshot["id"], STAGE, settings.paths)
            _merge(settings, done)
        finally:
            shutil.rmtree(STAGE, ignore_errors=True)
    if configuration:
        into = STATE / "configuration"
        shutil.rmtree(into, ignore_errors=True)
        _staged(repository, snapshot["id"], into, [str(CONFIGURATION), str(STATE / "release")])
        done.configuration = str(into)
    return done


def _chosen(repository: Repository, host: str, wanted: str) -> dict[str, Any]:
    """The snapshot that is meant: the host's last one, or the one whose id begins so."""
    said = repository.must("snapshots", "--json")
    every: list[dict[str, Any]] = sorted(json.loads(said.out or "[]") or [], key=_when)
    if wanted == "latest":
        fitting = [one for one in every if one["hostname"] == host]
    else:
        fitting = [one for one in every if one["id"].startswith(wanted)]
    if fitting:
        return fitting[-1]
    there = [f"{one['short_id']} ({one['hostname']}, {one['time'][:16]})" for one in every[-8:]]
    what = f"of host {host}" if wanted == "latest" else wanted
    raise Failure(
        "NO-SNAPSHOT",
        f"{repository.shown} has no snapshot {what}; there are: {', '.join(there) or 'none'}. "
        "Name one of these: -e restore_snapshot=ID, or the host it was made on: "
        "-e restore_host=NAME.",
        f"仓库 {repository.shown} 中没有所需的快照；现有：{'、'.join(there) or '无'}。"
        "请用 -e restore_snapshot=ID 或 -e restore_host=主机名 指定。",
    )


def _when(snapshot: dict[str, Any]) -> datetime.datetime:
    text = re.sub(r"\.\d+", "", snapshot["time"]).replace("Z", "+00:00")
    return datetime.datetime.fromisoformat(text)


def _room(needed: int) -> None:
    volume = os.statvfs(STAGE.parent)
    free = volume.f_bavail * volume.f_frsize
    if free < needed * 1.05:
        raise Failure(
            "ROOM",
            f"The snapshot needs {needed / 1e6:,.0f} MB below {STAGE.parent}, where "
            f"{free / 1e6:,.0f} MB are free. Make room, or mount a larger volume there.",
            f"{STAGE.parent} 需要 {needed / 1e6:,.0f} MB，仅剩 {free / 1e6:,.0f} MB，"
            "请清理或挂载更大的卷。",
        )


def _staged(repository: Repository, snapshot: str, into: Path, paths: list[str]) -> None:
    """Bring a snapshot's paths into a folder that only root enters, and hold them against it."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(mode=0o700, parents=True)
    included = [f"--include={path}" for path in paths]
    repository.must("restore", snapshot, f"--target={into}", "--verify", *included)


def _merge(settings: Settings, done: Restored) -> None:
    """Put every staged file that the host lacks in its place.

    Prompts come before the voices that name them, and each file appears whole: somebody may be
    speaking meanwhile.
    """
    staged = [file for path in settings.paths for file in _files(STAGE / path.lstrip("/"))]
    for file in sorted(staged, key=lambda file: (file.parent.name == "names", str(file))):
        target = Path("/") / file.relative_to(STAGE)
        if os.path.lexists(target):
            if file.parent.name == "prompts" and target.is_file():
                os.utime(target)  # young again, so that no clean-up takes it before its voice comes
            continue
        if reason := _spoilt(file, target):
            done.left_out.append(f"{target}: {reason}")
            continue
        _place(file, target)
        done.placed += 1
        done.bytes += file.stat().st_size
    os.sync()


def _spoilt(file: Path, target: Path) -> str:
    """Why a staged file is of no use; '' where it is."""
    if re.fullmatch("[0-9a-f]{64}", file.stem):
        return "" if _digest(file) == file.stem else "its content is not what its name says"
    if file.parent.name == "names" and file.suffix == ".json":
        try:
            prompt = json.loads(file.read_text(encoding="utf-8"))["prompt"]
        except (ValueError, KeyError, TypeError):
            return "no voice can be read from it"
        if not (target.parent.parent / "prompts" / f"{prompt}.wav").is_file():
            return "its prompt audio is lost"
    return ""


def _digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    summed = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            summed.update(block)
    return summed.hexdigest()


def _place(file: Path, target: Path) -> None:
    """A staged file at its target, whole or not at all, never over another."""
    _folder(target.parent)
    owner = target.parent.stat()
    os.chown(file, owner.st_uid, owner.st_gid)
    os.utime(file)  # see _merge
    try:
        os.link(file, target)
    except FileExistsError:
        pass  # made by somebody this moment: theirs stays
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # The voices are on a volume of their own.
        draft = target.parent / f".{target.name}.restoring"
        shutil.copy(file, draft)
        os.chown(draft, owner.st_uid, owner.st_gid)
        with contextlib.suppress(FileExistsError):
            os.link(draft, target)
        draft.unlink()


def _folder(path: Path) -> None:
    """Have a folder, with the owner and mode of the one above it."""
    if path.is_dir():
        return
    _folder(path.parent)
    above = path.parent.stat()
    path.mkdir(mode=above.st_mode & 0o777)
    os.chown(path, above.st_uid, above.st_gid)


# The command


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; 0 well, 1 a failure, which the last line of stderr names."""
    parser = argparse.ArgumentParser(prog="backup.py")
    verbs = parser.add_subparsers(dest="verb", required=True)
    prove = verbs.add_parser("prove")
    prove.add_argument("--make", action="store_true", help="make a repository where there is none")
    verbs.add_parser("run")
    back = verbs.add_parser("restore")
    back.add_argument("--host", required=True)
    back.add_argument("--snapshot", default="latest")
    back.add_argument("--dry-run", action="store_true")
    back.add_argument("--configuration", action="store_true")
    options = parser.parse_args(arguments)
    try:
        settings = Settings.read()
        if options.verb == "run":
            print(run(settings).summary)
        elif options.verb == "prove":
            made = False
            if options.make:
                made = Repository().make()
            else:
                Repository().open()
            Record.read(settings.period_s).write()
            print(json.dumps({"made": made}))
        else:
            done = restore(
                settings, options.host, options.snapshot,
                dry=options.dry_run, configuration=options.configuration,
            )  # fmt: skip
            print(json.dumps({**asdict(done), "summary": done.summary(options.dry_run)}))
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
