"""Base images: as bare as a provider's minimal Debian, made by mmdebstrap.

An image is a folder `SUITE/KEY-DATE`, where KEY is a hash of all that went into it; `current`
points to the newest. It is never changed once made, so hosts run on while a new one is built.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import TestbedError, UsageError
from .files import entries, locked, read_json, remove_tree
from .settings import Settings
from .shell import call, require_programs, say

PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "libpam-systemd", "udev",
    "python3", "python3-apt", "openssh-server", "sudo", "ca-certificates",
    "iproute2", "procps", "curl",
)  # fmt: skip
FILES = {
    "etc/ssh/sshd_config.d/testbed.conf": (
        "UseDNS no\nPermitRootLogin prohibit-password\nMaxStartups 100\n"
    ),
    "etc/sudoers.d/ops": "ops ALL=(ALL) NOPASSWD:ALL\n",
    "etc/dpkg/dpkg.cfg.d/testbed": "force-unsafe-io\n",  # a test host needs no fsync
    "etc/apt/apt.conf.d/99testbed": (
        'Acquire::Languages "none";\n'
        # The .debs are harvested into a cache for the next hosts.
        'APT::Keep-Downloaded-Packages "true";\n'
        'Binary::apt::APT::Keep-Downloaded-Packages "true";\n'
    ),
    "etc/hostname": "localhost\n",
    "etc/machine-id": "",
}
# Their timers would take apt's lock in the middle of a test.
MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer")
COMMANDS = (
    ("useradd", "--create-home", "--uid", "1000", "--shell", "/bin/bash", "ops"),
    ("update-ca-certificates",),
)
CA_FOLDER = Path("/usr/local/share/ca-certificates")
APT = Path("/etc/apt")
DEBIAN_SUITE = re.compile(r"(?:bullseye|bookworm|trixie|forky|sid|(?:old)*stable|testing)(-.*)?")


@dataclass(frozen=True)
class Mirrors:
    """Where packages come from: always what this machine itself uses."""

    main: str
    security: str | None

    def lines(self, suite: str) -> list[str]:
        """The apt sources of a suite."""
        lines = [f"deb {self.main} {suite} main", f"deb {self.main} {suite}-updates main"]
        if self.security:
            lines.append(f"deb {self.security} {suite}-security main")
        return lines


@dataclass(frozen=True)
class Recipe:
    """All that decides what an image holds."""

    suite: str
    sources: list[str]
    apt_options: list[str]
    certificates: dict[str, str]

    @property
    def key(self) -> str:
        """Changes with anything that went in."""
        parts = [
            self.suite, self.sources, self.apt_options, self.certificates,
            PACKAGES, FILES, MASKED, COMMANDS,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def recipe(settings: Settings, suite: str, apt: Path = APT) -> Recipe:
    """What an image of this suite is to be made of, on this machine."""
    found = Mirrors(settings.mirror, None) if settings.mirror else find_mirrors(apt)
    certificates = {
        path.name: path.read_text() for path in sorted(CA_FOLDER.rglob("*.crt")) if path.is_file()
    }
    return Recipe(suite, found.lines(suite), _proxies(apt), certificates)


def find_mirrors(apt: Path = APT) -> Mirrors:
    """Read the Debian mirrors from this machine's apt sources."""
    main = security = None
    for uri, suites in _sources(apt):
        for match in filter(None, map(DEBIAN_SUITE.fullmatch, suites)):
            if (match[1] or "").startswith("-security"):
                security = security or uri
            elif not match[1]:
                main = main or uri
    if not main:
        raise UsageError(
            f"no Debian mirror in {apt}: set COSYHOST_TESTBED_MIRROR to one you can reach"
        )
    return Mirrors(main, security)


def current(settings: Settings, suite: str) -> str | None:
    """The build that new hosts of a suite start from, if it is what would be made today."""
    link = settings.images / suite / "current"
    if not link.is_symlink() or not link.is_dir():
        return None
    build = str(link.readlink())
    return build if build.startswith(recipe(settings, suite).key + "-") else None


def folder(settings: Settings, suite: str, build: str) -> Path:
    """Where a build lies."""
    return settings.images / suite / build


def ensure(settings: Settings, suite: str, force: bool = False) -> str:
    """The build of a suite; makes it when there is none that is up to date."""
    build = None if force else current(settings, suite)
    if build:
        return build
    require_programs(["mmdebstrap"])
    with locked(settings.images / f".{suite}.lock"):
        build = None if force else current(settings, suite)
        return build or _build(settings, recipe(settings, suite))


def prune(settings: Settings, suite: str) -> None:
    """Remove builds that no host of any testbed runs on, and half-made ones."""
    used = {
        record.get("image")
        for path in settings.machines.glob("testbeds/*/hosts/*/host.json")
        if isinstance(record := read_json(path), dict)
    }
    top = settings.images / suite
    link = top / "current"
    if link.is_symlink():
        used.add(str(link.readlink()))
    for path in top.iterdir() if top.is_dir() else []:
        if path.name != "current" and path.name not in used:
            remove_tree(path)


def _build(settings: Settings, made_of: Recipe) -> str:
    suite, started = made_of.suite, time.monotonic()
    top = settings.images / suite
    top.mkdir(parents=True, exist_ok=True)
    prune(settings, suite)
    build = f"{made_of.key}-{time.strftime('%Y%m%d%H%M%S')}"
    draft = top / f".draft-{build}"
    say(f"building the {suite} image; this takes about half a minute")
    options = [f"--aptopt={option}" for option in made_of.apt_options]
    command = [
        "mmdebstrap", "--mode=root", "--variant=minbase", "--skip=cleanup/apt/lists",
        f"--include={','.join(PACKAGES)}", *options, suite, str(draft), "-",
    ]  # fmt: skip
    _follow(command, "\n".join(made_of.sources) + "\n")
    _finish(draft, made_of)
    draft.rename(top / build)
    pointer = top / ".current"
    pointer.unlink(missing_ok=True)
    pointer.symlink_to(build)
    pointer.replace(top / "current")
    say(f"the {suite} image is ready after {time.monotonic() - started:.0f} s")
    return build


def _follow(command: list[str], text: str) -> None:
    """Run mmdebstrap and pass on its progress lines; keep the rest for the error."""
    said: list[str] = []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(text)
        process.stdin.close()
        for line in process.stderr:
            said.append(line.rstrip())
            if line.startswith("I: "):
                say(f"  {line[3:].rstrip()}")
    if process.returncode:
        errors = [line for line in said if line.startswith(("E: ", "Err:", "W: "))] or said[-1:]
        raise TestbedError(f"mmdebstrap failed: {'; '.join(errors[-3:]) or 'it said nothing'}")


def _finish(root: Path, made_of: Recipe) -> None:
    """Set up what every host has: logins, certificates, quick package installs."""
    for name, text in made_of.certificates.items():
        path = root / CA_FOLDER.relative_to("/") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "etc/sudoers.d/ops").chmod(0o440)
    for unit in MASKED:
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    for command in COMMANDS:
        call("chroot", str(root), *command)
    for stale in (*root.glob("etc/ssh/ssh_host_*"), root / "var/lib/dbus/machine-id"):
        stale.unlink(missing_ok=True)


def _sources(apt: Path) -> Iterator[tuple[str, list[str]]]:
    """(URI, suites) of all enabled binary sources that can be reached over the network."""
    folder = apt / "sources.list.d"
    for path in (folder / name for name in entries(folder) if name.endswith(".sources")):
        for paragraph in re.split(r"\n\s*\n", path.read_text()):
            lines = [line for line in paragraph.splitlines() if not line.startswith("#")]
            text = re.sub(r"\n[ \t]+", " ", "\n".join(lines))
            fields = {
                name.strip().lower(): value.split()
                for name, colon, value in (line.partition(":") for line in text.splitlines())
                if colon
            }
            if fields.get("enabled", ["yes"])[0].lower() == "no":
                continue
            if "deb" in fields.get("types", []) and "main" in fields.get("components", []):
                for uri in _reachable(fields.get("uris", [])):
                    yield uri, fields.get("suites", [])
    one_line = [apt / "sources.list"]
    one_line += [folder / name for name in entries(folder) if name.endswith(".list")]
    for path in one_line:
        for line in path.read_text().splitlines() if path.exists() else []:
            words = re.sub(r"\[[^]]*\]", "", line.partition("#")[0]).split()
            if words[:1] == ["deb"] and "main" in words[3:]:
                for uri in _reachable(words[1:2]):
                    yield uri, words[2:3]


def _reachable(uris: list[str]) -> list[str]:
    return [uri.rstrip("/") for uri in uris if uri.startswith(("http://", "https://"))]


def _proxies(apt: Path) -> list[str]:
    """The proxy settings of this machine's apt, if it has any."""
    if apt != APT:
        return []
    dumped = call("apt-config", "dump", check=False).stdout.splitlines()
    wanted = re.compile(r'Acquire::https?::Proxy(::\S+)? ".+";')
    return [line.rstrip(";") for line in dumped if wanted.fullmatch(line)]
