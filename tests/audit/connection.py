"""One SSH connection a host for all checks: a handshake for each command is most of an audit."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ARGUMENTS = "ansible_ssh_extra_args"


def share(values: Iterable[dict[str, Any]]) -> Path | None:
    """Let testinfra's connections be shared; not where the inventory has arguments of its own."""
    if ARGUMENTS.upper() in os.environ or any(ARGUMENTS in host for host in values):
        return None
    folder = Path(tempfile.mkdtemp(prefix="audit", dir="/tmp"))  # a socket's path must be short
    os.environ[ARGUMENTS.upper()] = f"-o ControlPath={folder}/%C"
    return folder


def hang_up(folder: Path) -> None:
    """End the connections whose sockets lie in a folder, and remove it."""
    for path in folder.iterdir():
        command = ["ssh", "-O", "exit", "-o", f"ControlPath={path}", "nobody"]
        subprocess.run(command, capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)
