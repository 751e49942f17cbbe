"""What we ask of systemd: notices, credentials, and the folder for what must not outlive a boot."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def notify(state: str) -> None:
    """Send `state` (sd_notify(3) syntax, such as READY=1); does nothing outside a unit."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect(address)
        sender.sendall(state.encode())


def credential(name: str) -> str | None:
    """The credential `name` (systemd.exec(5), LoadCredential=), or None if none was given."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    path = Path(folder) / name
    return path.read_text(encoding="utf-8").strip() if path.exists() else None


def runtime_folder() -> Path | None:
    """The folder in /run that is this unit's (systemd.exec(5), RuntimeDirectory=), if any."""
    return _folder("RUNTIME_DIRECTORY")


def state_folder() -> Path | None:
    """The folder in /var/lib that is this unit's (systemd.exec(5), StateDirectory=), if any."""
    return _folder("STATE_DIRECTORY")


def logs_folder() -> Path | None:
    """The folder in /var/log that is this unit's (systemd.exec(5), LogsDirectory=), if any."""
    return _folder("LOGS_DIRECTORY")


def _folder(name: str) -> Path | None:
    folder = os.environ.get(name)
    return Path(folder.partition(":")[0]) if folder else None
