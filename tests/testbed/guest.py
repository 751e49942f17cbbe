"""Entering a running host from outside, without a network or a login."""

from __future__ import annotations

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = (f"PATH={PATH}", "HOME=/root", "USER=root", "LANG=C.UTF-8", "TERM=dumb")
NAMESPACES = (
    "--mount", "--uts", "--ipc", "--pid", "--net", "--cgroup", "--root", "--wd",
)  # fmt: skip


def inside(leader: int, *command: str) -> list[str]:
    """The command line that runs a command in the host whose PID 1 is `leader`."""
    return [
        "nsenter", "--target", str(leader), *NAMESPACES,
        "env", "-i", *ENVIRONMENT, *command,
    ]  # fmt: skip
