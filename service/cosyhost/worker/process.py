"""Names of processes that say whether they are still alive."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def started_ticks(pid: int) -> int:
    """When the process started, in clock ticks since boot; with its id it names one process only.

    Raises:
        ProcessLookupError: there is no such process, or only what is left of it (a zombie).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    # Fields 3 and 22 of proc_pid_stat(5), counted after the name, which may hold spaces.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in "ZX":
        raise ProcessLookupError(pid)
    return int(fields[19])


def process_name(pid: int) -> str:
    """A name for a process that no other process, host or boot shares."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{socket.gethostname()}/{boot}/{pid}/{started_ticks(pid)}"


def is_dead_here(name: str) -> bool:
    """Whether the process of that name ran on this host, in this boot, and is gone."""
    host, boot, pid, _ = name.split("/")
    if not process_name(os.getpid()).startswith(f"{host}/{boot}/"):
        return False
    try:
        return process_name(int(pid)) != name
    except ProcessLookupError:
        return True
