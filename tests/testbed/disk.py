"""A host's disk: an overlay on the base image, and the layers kept from earlier hosts."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from . import image, pip
from .errors import TestbedError
from .files import entries, link_all, mounts_under, read_json, remove_tree, write_json, write_whole
from .records import HostRecord, load_all
from .settings import Settings
from .shell import call

ARCHIVES = "var/cache/apt/archives"
OPS_UID = 1000
RESOLVERS = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))


@dataclass(frozen=True)
class Layer:
    """A saved host: the changes it made, on a certain base image."""

    image: str
    folders: list[str]  # names of its folders, the topmost first


def load_layer(settings: Settings, suite: str, layer: str) -> Layer | None:
    """A layer, unless the base has changed since: dpkg's state lives in both."""
    value = read_json(settings.layers / suite / f"{layer}.json")
    if not isinstance(value, dict) or value["image"] != image.current(settings, suite):
        return None
    found = Layer(**value)
    present = all((settings.layers / suite / name).is_dir() for name in found.folders)
    return found if present else None


def save_layer(settings: Settings, record: HostRecord, layer: str) -> None:
    """Keep what a stopped host changed as a layer; the host's disk is used up by it."""
    folder = settings.host_dir(record.name)
    harvest(settings, record)
    for path in (folder / "upper" / ARCHIVES).glob("*.deb"):
        path.unlink()
    unmount(folder / "root")
    top = settings.layers / record.suite
    top.mkdir(parents=True, exist_ok=True)
    name = f"{layer}-{time.strftime('%Y%m%d%H%M%S')}-{os.getpid()}"
    (folder / "upper").rename(top / name)
    saved = {"image": record.image, "folders": [name, *record.lower]}
    write_json(top / f"{layer}.json", saved)


def prune_layers(settings: Settings, suite: str) -> None:
    """Remove layer folders that neither a layer nor a host needs; call it under the lock."""
    top = settings.layers / suite
    used = {name for record in load_all(settings) for name in record.lower}
    for name in entries(top):
        value = read_json(top / name) if name.endswith(".json") else None
        if isinstance(value, dict):
            used.update(value["folders"])
    for name in entries(top):
        if not name.endswith(".json") and name not in used:
            remove_tree(top / name)


def create(settings: Settings, record: HostRecord, public_key: str) -> None:
    """Make a host's disk and what is personal on it."""
    folder = settings.host_dir(record.name)
    archives = folder / "upper" / ARCHIVES
    archives.mkdir(parents=True)
    for name in ("work", "root"):
        (folder / name).mkdir()
    cache = settings.apt_cache / record.suite
    cache.mkdir(parents=True, exist_ok=True)
    # Links, not a shared folder: apt locks the folder, so two hosts could not install at once.
    link_all(cache, archives, "*.deb")
    mount(settings, record)
    root = folder / "root"
    write_whole(root / "etc/hostname", f"{record.name}\n")
    write_whole(root / "etc/hosts", f"127.0.0.1 localhost\n{record.ip} {record.name}\n")
    write_whole(root / "etc/machine-id", f"{uuid.uuid4().hex}\n", 0o444)
    write_whole(root / "etc/resolv.conf", resolver())
    write_whole(root / "etc/pip.conf", pip.guest_config(settings, record.suite))
    for home, uid in (("root", 0), ("home/ops", OPS_UID)):
        keys = root / home / ".ssh/authorized_keys"
        write_whole(keys, public_key, 0o600)
        keys.parent.chmod(0o700)
        for path in (keys.parent, keys):
            os.chown(path, uid, uid)
    for stale in root.glob("etc/ssh/ssh_host_*"):
        stale.unlink()
    host_key = root / "etc/ssh/ssh_host_ed25519_key"
    call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", record.name, "-f", str(host_key))


def mount(settings: Settings, record: HostRecord) -> None:
    """Put the overlay together, if it is not."""
    folder = settings.host_dir(record.name)
    if mounts_under(folder / "root"):
        return
    lower = [str(settings.layers / record.suite / name) for name in record.lower]
    lower.append(str(image.folder(settings, record.suite, record.image)))
    options = f"lowerdir={':'.join(lower)},upperdir={folder}/upper,workdir={folder}/work"
    call("mount", "-t", "overlay", f"tb-{record.name}", "-o", options, str(folder / "root"))


def unmount(root: Path) -> None:
    """Take the overlay apart."""
    if mounts_under(root) and call("umount", "-R", str(root), check=False).returncode:
        call("umount", "-R", "--lazy", str(root))


def harvest(settings: Settings, record: HostRecord) -> None:
    """Keep the .debs a host downloaded for the next one."""
    archives = settings.host_dir(record.name) / "upper" / ARCHIVES
    if archives.is_dir():
        cache = settings.apt_cache / record.suite
        cache.mkdir(parents=True, exist_ok=True)
        link_all(archives, cache, "*.deb")


def resolver() -> str:
    """This machine's name servers, as far as a host behind the bridge can reach them."""
    for path in RESOLVERS:
        if path.exists():
            text = path.read_text()
            servers = [line.split() for line in text.splitlines() if line.startswith("nameserver")]
            if any(len(words) > 1 and not words[1].startswith("127.") for words in servers):
                return text
    raise TestbedError("no name server outside this machine: add one to /etc/resolv.conf")
