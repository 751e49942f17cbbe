"""One host's life: made, booted, entered, cut off, kept or thrown away."""

from __future__ import annotations

import base64
import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from . import disk, network, records
from .cgroups import Cgroups, entering
from .errors import CommandError, TestbedError
from .files import locked, remove_tree
from .guest import inside
from .pip import WHEELHOUSE
from .records import BootStatus, HostRecord
from .settings import Settings
from .shell import call

BOOT_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0
POWER_OFF = "-RTMIN+4"  # systemd's signal for an orderly power-off
_serial = itertools.count()


class Host:
    """A host that exists; it may be running or not."""

    def __init__(self, settings: Settings, groups: Cgroups, record: HostRecord) -> None:
        self._settings = settings
        self._groups = groups
        self._record = record

    def __repr__(self) -> str:
        return f"Host({self.name!r}, {self.suite!r}, {self.ip!r})"

    @property
    def name(self) -> str:
        """Its name, also its host name inside."""
        return self._record.name

    @property
    def ip(self) -> str:
        """Its address on the bridge."""
        return self._record.ip

    @property
    def netns(self) -> str:
        """Its network namespace, for `ip netns exec`."""
        return self._settings.netns(self.name)

    @property
    def suite(self) -> str:
        """The Debian release it runs."""
        return self._record.suite

    @property
    def layer(self) -> str | None:
        """The layer it was started from, if any."""
        return self._record.layer

    @property
    def folder(self) -> Path:
        """Where its disk, its record and its logs lie on this machine."""
        return self._settings.host_dir(self.name)

    @property
    def running(self) -> bool:
        """Whether the host is switched on."""
        return self._groups.leader(self.name) is not None

    @property
    def state(self) -> str:
        """`booting`, `ready`, `ended` (it powered itself off) or `off`."""
        state = records.status(self._settings, self.name).state
        return state if state == "ended" or self._groups.populated(self.name, "run") else "off"

    def run(
        self, *cmd: str, check: bool = True, timeout: float | None = None, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root inside the host; a service of the host is not its parent."""
        leader = self._leader()
        # A group for each command, so that a timeout ends all that the command started.
        leaf = f"exec-{os.getpid()}-{next(_serial)}"
        procs = self._groups.leaf(self.name, leaf)
        stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
        late = False
        try:
            with subprocess.Popen(
                entering([procs], *inside(leader, *cmd)), text=True, errors="replace",
                stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            ) as process:  # fmt: skip
                try:
                    out, err = process.communicate(input, timeout)
                except subprocess.TimeoutExpired:
                    late = True
                    self._groups.drop_leaf(self.name, leaf, kill=True)
                    out, err = process.communicate()
        finally:
            self._groups.drop_leaf(self.name, leaf)
        if late:
            said = (out + err)[-500:]
            raise TestbedError(
                f"{self.name}: '{' '.join(cmd)}' took longer than {timeout:g} s: {said}"
            )
        if check and process.returncode:
            raise CommandError(cmd, process.returncode, out, err)
        return subprocess.CompletedProcess(list(cmd), process.returncode, out, err)

    def call(self, *cmd: str) -> int:
        """Run a command inside the host on this terminal."""
        leader = self._leader()
        leaf = f"exec-{os.getpid()}-{next(_serial)}"
        try:
            procs = self._groups.leaf(self.name, leaf)
            return subprocess.call(entering([procs], *inside(leader, *cmd)))
        finally:
            self._groups.drop_leaf(self.name, leaf)

    def put(self, content: str | bytes, path: str, mode: int = 0o644) -> None:
        """Write a file inside the host, and the folders above it."""
        data = content.encode() if isinstance(content, str) else content
        script = 'base64 -d | install -D -m "$1" /dev/stdin "$2"'
        text = base64.b64encode(data).decode()
        self.run("/bin/sh", "-c", script, "put", f"{mode:o}", path, input=text)

    def ssh_command(self, *cmd: str) -> list[str]:
        """The command line that logs in as root."""
        return ["ssh", "-i", str(self._settings.key), *SSH_OPTIONS, f"root@{self.ip}", *cmd]

    def cut_off(self) -> None:
        """No route out, nothing fetched before: only this machine can reach the host."""
        network.cut_off(self._settings, self.name)
        left = f"rm -f /var/cache/apt/archives/*.deb /etc/pip.conf; umount {WHEELHOUSE} || true"
        self.run("sh", "-c", left)

    def start(self) -> None:
        """Switch on a host that is off, with the disk it had; does not wait."""
        with locked(self._lock):
            self._start()

    def wait_ready(self, boot: int = 1, timeout: float = BOOT_TIMEOUT_S) -> None:
        """Wait until the host has booted and answers on its SSH port."""
        deadline = time.monotonic() + timeout
        while not self._arrived(boot):
            if time.monotonic() > deadline:
                said = self._last_words()
                raise TestbedError(f"{self.name} is not up after {timeout:g} s: {said}")
            time.sleep(0.02)
        while not _answers(self.ip):
            if time.monotonic() > deadline or not self.running:
                raise TestbedError(f"{self.name} does not answer SSH: {self._last_words()}")
            time.sleep(0.05)

    def reboot(self) -> None:
        """Reboot in order, and wait until the host is back."""
        boot = records.status(self._settings, self.name).boot
        # The command may be ended by the reboot it asks for.
        self.run("systemctl", "reboot", check=False, timeout=STOP_TIMEOUT_S)
        self.wait_ready(boot + 1)

    def kill(self) -> None:
        """Cut the power: every process ends at once. The disk stays; see `power_on`."""
        with locked(self._lock):
            self._cut()

    def power_on(self) -> None:
        """Start again after `kill`, with the same disk, and wait until the host is back."""
        with locked(self._lock):
            if self._groups.populated(self.name, "run"):
                return
            with locked(self._settings.lock):
                network.ensure_bridge(self._settings)
            if self.name not in network.namespaces(self._settings):  # the machine was rebooted
                network.attach(self._settings, self.name, self.ip)
            self._start()
        self.wait_ready()

    def stop(self) -> None:
        """Power off in order, and wait until the host is off."""
        leader = self._groups.leader(self.name)
        if leader is not None:
            call("kill", POWER_OFF, str(leader), check=False)
            deadline = time.monotonic() + STOP_TIMEOUT_S
            while self._groups.populated(self.name):
                if time.monotonic() > deadline:
                    raise TestbedError(f"{self.name} does not power off: {self._last_words()}")
                time.sleep(0.05)
        with locked(self._lock):
            self._cut()

    def snap(self, layer: str) -> None:
        """Keep the host's disk as a layer for new hosts; the host itself is gone afterwards."""
        records.check_layer(layer)
        self.stop()
        with locked(self._lock):
            disk.save_layer(self._settings, self._record, layer)
        with locked(self._settings.lock):
            disk.prune_layers(self._settings, self.suite)
        self.down()

    def shape(self, rate: str | None) -> None:
        """Limit the host's link in both directions, like `5mbit`; None lifts the limit."""
        network.shape(self._settings, self.name, rate)

    def down(self) -> None:
        """Remove the host and its disk; keep its downloaded .debs."""
        with locked(self._lock):
            destroy(self._settings, self._groups, self.name)
        with locked(self._settings.lock):
            network_if_unused(self._settings)

    @property
    def _lock(self) -> Path:
        return host_lock(self._settings, self.name)

    def _leader(self) -> int:
        leader = self._groups.leader(self.name)
        if leader is None:
            raise TestbedError(f"{self.name} is not running: switch it on with 'start {self.name}'")
        return leader

    def _start(self) -> None:
        disk.mount(self._settings, self._record)
        self._groups.create(self.name)
        records.store_status(self._settings, self.name, BootStatus(0, "booting"))
        command = [sys.executable, "-m", "tests.testbed.supervise", self.name]
        with (self.folder / "supervisor.log").open("ab") as log:
            # It forks once in its group: nobody's child, so it outlives us and leaves no zombie.
            setsid = ("setsid", "--fork", *command)
            subprocess.run(
                entering([self._groups.leaf(self.name, "run")], *setsid), check=True, cwd="/",
                env=self._settings.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def _cut(self) -> None:
        self._groups.kill(self.name)
        self._groups.remove(self.name)

    def _arrived(self, boot: int) -> bool:
        now = records.status(self._settings, self.name)
        if now.state == "ended":
            raise TestbedError(f"{self.name} went down while booting: {self._last_words()}")
        if not self._groups.populated(self.name, "run"):
            raise TestbedError(f"{self.name} was not started: {self._last_words()}")
        return now.state == "ready" and now.boot >= boot

    def _last_words(self) -> str:
        for name in ("supervisor.log", "console.log"):
            path = self.folder / name
            lines = path.read_text(errors="replace").split("\n") if path.exists() else []
            said = [line.strip() for line in lines if line.strip()]
            if said:
                return f"{said[-1]} (more in {path})"
        return f"it left no word in {self.folder}"


SSH_OPTIONS = (
    "-F", "/dev/null",
    "-o", "IdentitiesOnly=yes",
    "-o", "StrictHostKeyChecking=no",
    "-o", "UserKnownHostsFile=/dev/null",
    "-o", "GlobalKnownHostsFile=/dev/null",
    "-o", "LogLevel=ERROR",
)  # fmt: skip


def host_lock(settings: Settings, name: str) -> Path:
    """Held while a host is made, started, cut off or removed."""
    return settings.own / "locks" / name


def destroy(settings: Settings, groups: Cgroups, name: str) -> None:
    """Remove all there is of a host, whatever state a crash left it in."""
    groups.kill(name)
    groups.remove(name)
    record = records.load(settings, name)
    if record:
        disk.harvest(settings, record)
    remove_tree(settings.host_dir(name))
    network.detach(settings, name)
    shutil.rmtree(f"/run/systemd/nspawn/propagate/{settings.name}-{name}", ignore_errors=True)
    (settings.hosts / f".#{name}.lck").unlink(missing_ok=True)


def network_if_unused(settings: Settings) -> None:
    """Remove the bridge when the last host and client are gone; call it under the lock."""
    if not records.taken_addresses(settings):
        network.remove_bridge(settings)


def _answers(ip: str) -> bool:
    try:
        with socket.create_connection((ip, 22), timeout=1) as connection:
            connection.settimeout(2)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
