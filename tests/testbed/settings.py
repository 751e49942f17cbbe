"""Where a testbed keeps its things and what they are called: all from one name."""

from __future__ import annotations

import ipaddress
import os
import pwd
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .errors import UsageError

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_NAME = "main"
TESTBED_NAME = re.compile(r"[a-z][a-z0-9]{0,7}")
FIRST_HOST, LAST_HOST = 11, 250


@dataclass(frozen=True)
class Settings:
    """One testbed. Two with different names share base images and caches, nothing else."""

    name: str
    state_root: Path
    machines: Path
    subnet: ipaddress.IPv4Network
    mirror: str | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read COSYHOST_TESTBED, and _DIR, _MACHINES, _SUBNET, _MIRROR behind it."""
        env = os.environ if environ is None else environ
        name = env.get("COSYHOST_TESTBED") or DEFAULT_NAME
        if not TESTBED_NAME.fullmatch(name):
            raise UsageError(
                f"COSYHOST_TESTBED={name!r}: use 1 to 8 characters, a-z and 0-9, a letter first"
            )
        state = env.get("COSYHOST_TESTBED_DIR") or f"{_home(env)}/.cache/cosyhost-testbed"
        machines = env.get("COSYHOST_TESTBED_MACHINES") or "/var/lib/machines/cosyhost-testbed"
        for path in (state, machines):
            if not path.startswith("/") or set(path) & set(":, \\\n"):
                raise UsageError(f"{path!r}: use an absolute path without ':', ',', '\\' or spaces")
        given = env.get("COSYHOST_TESTBED_SUBNET") or _subnet_of(name)
        try:
            subnet = ipaddress.IPv4Network(given)
        except ValueError:
            subnet = ipaddress.IPv4Network("0.0.0.0/0")
        if subnet.prefixlen != 24:
            raise UsageError(f"COSYHOST_TESTBED_SUBNET={given!r}: use a /24 like 10.77.0.0/24")
        mirror = env.get("COSYHOST_TESTBED_MIRROR") or None
        return cls(name, Path(state), Path(machines), subnet, mirror)

    def environment(self) -> dict[str, str]:
        """An environment in which another Python process finds this package and testbed."""
        return {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONDONTWRITEBYTECODE": "1",
            "COSYHOST_TESTBED": self.name,
            "COSYHOST_TESTBED_DIR": str(self.state_root),
            "COSYHOST_TESTBED_MACHINES": str(self.machines),
            "COSYHOST_TESTBED_SUBNET": str(self.subnet),
        }

    # What all testbeds share: made once, costly, never changed in place.
    @property
    def images(self) -> Path:
        """Base images, `SUITE/BUILD`."""
        return self.machines / "images"

    @property
    def apt_cache(self) -> Path:
        """Downloaded .debs, by suite."""
        return self.machines / "apt"

    @property
    def wheelhouses(self) -> Path:
        """Downloaded wheels, by suite."""
        return self.machines / "wheelhouse"

    # What belongs to this testbed alone.
    @property
    def own(self) -> Path:
        """Disks and layers of this testbed; on the file system of the images."""
        return self.machines / "testbeds" / self.name

    @property
    def hosts(self) -> Path:
        """One folder a host."""
        return self.own / "hosts"

    @property
    def layers(self) -> Path:
        """Saved hosts."""
        return self.own / "layers"

    @property
    def clients(self) -> Path:
        """One record a client namespace."""
        return self.own / "clients"

    @property
    def state(self) -> Path:
        """Key, locks, inventory."""
        return self.state_root / self.name

    @property
    def key(self) -> Path:
        """The private SSH key for all hosts."""
        return self.state / "ssh" / "id_ed25519"

    @property
    def lock(self) -> Path:
        """Held while addresses are given out and the bridge is set up or removed."""
        return self.own / "lock"

    @property
    def bridge(self) -> str:
        """The bridge's interface name."""
        return f"br-{self.name}"

    @property
    def tag(self) -> str:
        """Marks firewall rules and control groups."""
        return f"cosyhost-testbed-{self.name}"

    @property
    def netns_prefix(self) -> str:
        """Names of network namespaces begin so; a name has no dot, so no two prefixes overlap."""
        return f"tb-{self.name}."

    @cached_property
    def gateway(self) -> str:
        """This machine's address on the bridge."""
        return str(self.subnet[1])

    def netns(self, name: str) -> str:
        """The network namespace of a host or client."""
        return self.netns_prefix + name

    def link(self, name: str) -> str:
        """The bridge's end of a host's link: a hash, for the kernel allows 15 characters."""
        return f"tb{zlib.crc32(f'{self.name}/{name}'.encode()):08x}"

    def host_dir(self, name: str) -> Path:
        """A host's folder."""
        return self.hosts / name


def _home(env: Mapping[str, str]) -> Path:
    """The home of whoever typed sudo: Ansible then runs as that user and needs the key."""
    if env.get("SUDO_UID", "").isdigit():
        try:
            return Path(pwd.getpwuid(int(env["SUDO_UID"])).pw_dir)
        except KeyError:
            pass
    return Path(env.get("HOME") or Path.home())


def _subnet_of(name: str) -> str:
    third = 0 if name == DEFAULT_NAME else 1 + zlib.crc32(name.encode()) % 250
    return f"10.77.{third}.0/24"
