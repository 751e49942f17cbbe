"""The testbed: all its hosts, for the command line and for pytest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from . import disk, image, inventory, network, records
from .cgroups import Cgroups
from .client import Client, WanClient
from .errors import TestbedError, UsageError
from .files import entries, locked, mounts_under, remove_tree, write_whole
from .host import Host, destroy, host_lock, network_if_unused
from .records import HostRecord, HostSpec
from .settings import Settings
from .shell import call, require_programs, require_root
from .wan import Line

PROGRAMS = ("ip", "iptables", "tc", "ssh", "ssh-keygen", "systemd-nspawn", "nsenter", "setsid")


class Testbed:
    """Real systemd hosts on this machine."""

    __test__ = False  # the name looks like a test class to pytest

    def __init__(self, settings: Settings | None = None) -> None:
        require_root()
        require_programs(PROGRAMS)
        self.settings = settings or Settings.from_env()
        self._groups = Cgroups.detect(self.settings.tag)

    # Hosts

    def hosts(self) -> list[Host]:
        """All hosts that exist, by name."""
        return [self._host(record) for record in records.load_all(self.settings)]

    def host(self, name: str) -> Host:
        """An existing host."""
        record = records.load(self.settings, records.check_name(name))
        if record is None:
            raise UsageError(f"no host {name!r}: start it with 'up {name}'")
        return self._host(record)

    def up(
        self, name: str, suite: str = "bookworm", layer: str | None = None, ip: str | None = None
    ) -> Host:
        """Boot a new host; one that has the name already is replaced."""
        return self.up_many([HostSpec(name, suite, layer, ip)])[0]

    def up_many(self, specs: Iterable[HostSpec]) -> list[Host]:
        """Boot several hosts side by side, and wait for all of them."""
        wanted = list(specs)
        names = [spec.name for spec in wanted]
        if len(set(names)) < len(names):
            raise UsageError(f"the same name twice: {' '.join(names)}")
        for suite in dict.fromkeys(spec.suite for spec in wanted):
            image.ensure(self.settings, suite)
        for spec in wanted:
            self._below(spec)
        hosts = [self._boot(spec) for spec in wanted]
        for host in hosts:
            host.wait_ready()
        return hosts

    def down(self, names: Iterable[str] | None = None) -> list[str]:
        """Remove hosts and clients with their disks; all of them when none are named."""
        known = {host.name for host in self.hosts()} | set(records.client_addresses(self.settings))
        chosen = sorted(known) if names is None else [records.check_name(name) for name in names]
        for name in chosen:
            with locked(host_lock(self.settings, name)):
                destroy(self.settings, self._groups, name)
                records.remove_client(self.settings, name)
        with locked(self.settings.lock):
            network_if_unused(self.settings)
        return chosen

    def clean(self, images: bool = False) -> None:
        """Remove everything of this testbed, what a crash left too; images only if asked."""
        left = set(entries(self.settings.hosts)) | set(entries(self.settings.clients))
        left |= set(self._groups.known()) | set(network.namespaces(self.settings))
        for name in sorted(left):
            destroy(self.settings, self._groups, name)
        self._groups.remove_all()
        network.remove_bridge(self.settings)
        remove_tree(self.settings.own)
        with suppress(OSError):
            self.settings.own.parent.rmdir()
        remove_tree(self.settings.state)
        if images:
            self._remove_shared()

    # Layers and images

    def has_layer(self, name: str, suite: str) -> bool:
        """Whether a layer can be started from: it exists, and its base image is still current."""
        return disk.load_layer(self.settings, suite, name) is not None

    def build(self, suite: str, force: bool = False) -> str:
        """Make a base image, unless it is up to date."""
        return image.ensure(self.settings, records.check_suite(suite), force)

    # Clients

    def client(self, name: str, ip: str | None = None) -> Client:
        """A bare network namespace on the bridge: a user's machine without an operating system."""
        address = self._admit_client(name, ip)
        network.attach(self.settings, name, address)
        return Client(self.settings, name, address)

    @contextmanager
    def wan_client(
        self,
        name: str,
        ip: str | None = None,
        *,
        up_mbit: float = 5,
        down_mbit: float = 20,
        delay_ms: float = 20,
        jitter_ms: float = 0,
        loss_pct: float = 0,
        queue_ms: float = 200,
        reported_speed_mbit: int | None = None,
    ) -> Iterator[WanClient]:
        """A client behind a thin line, for as long as the context lasts. Delay is one-way."""
        line = Line(up_mbit, down_mbit, delay_ms, jitter_ms, loss_pct, queue_ms)
        if reported_speed_mbit is not None:
            require_programs(["ethtool"])
        address = self._admit_client(name, ip)
        client = WanClient(self.settings, name, address, line, reported_speed_mbit)
        try:
            client.connect()
            yield client
        finally:
            client.down()

    # Inventory

    def inventory_yaml(
        self,
        extra: Mapping[str, Mapping[str, object]] | None = None,
        names: Iterable[str] | None = None,
    ) -> str:
        """The Ansible inventory; `extra` holds more variables, by host name."""
        hosts = self.hosts() if names is None else [self.host(name) for name in names]
        return inventory.render(hosts, self.settings.key, extra)

    def write_inventory(self, path: str | Path, names: Iterable[str] | None = None) -> Path:
        """Write the Ansible inventory to a file."""
        target = Path(path)
        write_whole(target, self.inventory_yaml(names=names))
        return target

    def _host(self, record: HostRecord) -> Host:
        return Host(self.settings, self._groups, record)

    def _below(self, spec: HostSpec) -> tuple[str, list[str]]:
        """What a new host is to lie on: the image, and the folders of its layer."""
        build = image.current(self.settings, spec.suite)
        assert build is not None
        if spec.layer is None:
            return build, []
        layer = disk.load_layer(self.settings, spec.suite, spec.layer)
        if layer is None:
            raise TestbedError(
                f"no layer {spec.layer!r} on today's {spec.suite} image: provision a host, "
                f"then keep it with 'snap NAME {spec.layer}'"
            )
        return build, layer.folders

    def _boot(self, spec: HostSpec) -> Host:
        settings = self.settings
        with locked(host_lock(settings, spec.name)):
            if spec.name in records.client_addresses(settings):
                raise UsageError(f"{spec.name!r} is a client: take it down first")
            destroy(settings, self._groups, spec.name)
            with locked(settings.lock):
                public_key = self._public_key()
                network.ensure_bridge(settings)
                taken = records.taken_addresses(settings)
                ip = records.choose_address(settings.subnet, taken, spec.ip)
                build, lower = self._below(spec)
                record = HostRecord(spec.name, ip, spec.suite, spec.layer, build, lower)
                records.store(settings, record)
            try:
                disk.create(settings, record, public_key)
                network.attach(settings, spec.name, ip)
            except BaseException:
                destroy(settings, self._groups, spec.name)
                raise
        host = self._host(record)
        host.start()
        return host

    def _admit_client(self, name: str, ip: str | None) -> str:
        """Give a client its address and clear away what had its name."""
        settings = self.settings
        records.check_name(name)
        with locked(settings.lock):
            if records.load(settings, name):
                raise UsageError(f"{name!r} is a host: give the client another name")
            records.remove_client(settings, name)
            taken = records.taken_addresses(settings)
            address = records.choose_address(settings.subnet, taken, ip)
            network.ensure_bridge(settings)
            records.store_client(settings, name, address)
        return address

    def _public_key(self) -> str:
        key = self.settings.key
        if not key.exists():
            key.parent.mkdir(parents=True, exist_ok=True)
            call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "testbed", "-f", str(key))
            self._hand_over(self.settings.state_root)
        return key.with_suffix(".pub").read_text()

    def _hand_over(self, folder: Path) -> None:
        """Give files below a folder to whoever typed sudo: Ansible runs without it."""
        uid, gid = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
        if uid.isdigit() and gid.isdigit():
            call("chown", "-R", f"{uid}:{gid}", str(folder))

    def _remove_shared(self) -> None:
        settings = self.settings
        shared = (settings.images, settings.apt_cache, settings.wheelhouses)
        if mounts_under(settings.machines):
            raise TestbedError("other testbeds have hosts on these images: clean those first")
        for folder in shared:
            remove_tree(folder)
        with suppress(OSError):
            settings.machines.rmdir()
