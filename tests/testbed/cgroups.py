"""Control groups of the hosts.

Every host needs a group of its own before nspawn starts, in each mounted hierarchy: hosts that
share one share systemd's groups too, and both come up degraded. Below the host's group lie only
leaves (`run`, `machine`, one `exec-*` a command), for a pure v2 machine lets no process live in
a group that hands controllers down.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from .errors import TestbedError
from .files import entries

SYSFS = Path("/sys/fs/cgroup")
LIMITERS = ("memory", "cpu", "cpuacct", "pids")
ENTER = 'for group do shift; [ "$group" = -- ] && break; echo $$ >"$group"; done; exec "$@"'


@dataclass(frozen=True)
class Cgroups:
    """The control group hierarchies of this machine, and one testbed's place in them."""

    tag: str
    unified: Path
    legacy: tuple[Path, ...]  # v1 hierarchies to take part in; none on a pure v2 machine
    delegated: tuple[str, ...]  # v1 controllers to hand down to the guest

    @classmethod
    def detect(cls, tag: str, sysfs: Path = SYSFS) -> Cgroups:
        """Look at what is mounted: pure v2, or v1 controllers beside `unified`."""
        unified = sysfs / "unified"
        if not unified.is_dir():
            if not (sysfs / "cgroup.controllers").exists():
                raise TestbedError(f"no cgroup v2 below {sysfs}: boot with it, hybrid or unified")
            return cls(tag, sysfs, (), ())
        limiters = tuple(name for name in LIMITERS if (sysfs / name).is_dir())
        legacy = [sysfs / name for name in ("systemd", *limiters) if (sysfs / name).is_dir()]
        return cls(tag, unified, tuple(legacy), limiters)

    @property
    def hybrid(self) -> bool:
        """Whether v1 hierarchies hold the controllers."""
        return bool(self.legacy)

    def group(self, name: str) -> Path:
        """A host's group in the v2 hierarchy."""
        return self.unified / self.tag / name

    def known(self) -> list[str]:
        """Hosts that have a group, crash leftovers included."""
        tops = [root / self.tag for root in (self.unified, *self.legacy)]
        return sorted({name for top in tops for name in entries(top) if (top / name).is_dir()})

    def create(self, name: str) -> None:
        """Make a host's groups and hand the controllers down to them."""
        for root in self.legacy:
            (root / self.tag / name).mkdir(parents=True, exist_ok=True)
        group = self.group(name)
        group.mkdir(parents=True, exist_ok=True)
        for folder in (self.unified, group.parent, group):
            for controller in (folder / "cgroup.controllers").read_text().split():
                # One by one: a controller that cannot be had must not keep the others away.
                with contextlib.suppress(OSError):
                    (folder / "cgroup.subtree_control").write_text(f"+{controller}")
        self.leaf(name, "run")

    def leaf(self, name: str, leaf: str) -> Path:
        """A group for processes on the machine's side; its path is what to write a pid to."""
        folder = self.group(name) / leaf
        folder.mkdir(exist_ok=True)
        return folder / "cgroup.procs"

    def fresh_machine(self, name: str) -> list[Path]:
        """Empty groups for one run of nspawn.

        They are new for each boot: after the first one, v2 refuses processes in the old group.
        """
        roots = (self.unified, *self.legacy)
        folders = [root / self.tag / name / "machine" for root in roots]
        _kill(folders[0])
        for folder in folders:
            _remove(folder)
            folder.mkdir(parents=True, exist_ok=True)
        return [folder / "cgroup.procs" for folder in folders]

    def leader(self, name: str) -> int | None:
        """The process on this machine that is PID 1 of the host."""
        scope = self.group(name) / "machine" / "payload" / "init.scope"
        try:
            found = [int(line) for line in (scope / "cgroup.procs").read_text().split()]
        except OSError:
            return None
        return next((pid for pid in found if pid > 0), None)

    def populated(self, name: str, leaf: str = "machine") -> bool:
        """Whether any process lives in this part of a host."""
        return _populated(self.group(name) / leaf)

    def kill(self, name: str) -> None:
        """End all of a host's processes, at once. Killing nspawn alone would leave them."""
        _kill(self.group(name))

    def drop_leaf(self, name: str, leaf: str, kill: bool = False) -> None:
        """Remove a leaf; one in which something still lives stays until the host goes."""
        folder = self.group(name) / leaf
        if kill:
            _kill(folder)
        with contextlib.suppress(OSError):
            folder.rmdir()

    def remove(self, name: str) -> None:
        """Remove a host's groups, its processes being gone."""
        for root in (self.unified, *self.legacy):
            _remove(root / self.tag / name)

    def remove_all(self) -> None:
        """Remove the testbed's own groups once no host is left."""
        for root in (self.unified, *self.legacy):
            with contextlib.suppress(OSError):
                (root / self.tag).rmdir()


def entering(groups: list[Path], *command: str) -> list[str]:
    """A command line that moves itself into groups, then becomes the command.

    A shell does it, for Python's preexec_fn is unsafe beside threads.
    """
    return ["/bin/sh", "-c", ENTER, "enter", *map(str, groups), "--", *command]


def _populated(folder: Path) -> bool:
    try:
        return "populated 1" in (folder / "cgroup.events").read_text()
    except OSError:
        return False


def _kill(folder: Path) -> None:
    if not folder.is_dir():
        return
    deadline = time.monotonic() + 10
    while _populated(folder):
        (folder / "cgroup.kill").write_text("1")
        if time.monotonic() > deadline:
            raise TestbedError(f"processes in {folder} survive being killed: look at them with ps")
        time.sleep(0.02)


def _remove(folder: Path) -> None:
    deadline = time.monotonic() + 5
    while folder.is_dir():
        for path, _, _ in os.walk(folder, topdown=False):
            with contextlib.suppress(OSError):
                Path(path).rmdir()
        if time.monotonic() > deadline:
            raise TestbedError(f"{folder} cannot be removed: something still lives in it")
        if folder.is_dir():
            time.sleep(0.02)
