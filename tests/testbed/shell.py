"""Running programs, and checking beforehand that they can run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable

from .errors import CommandError, TestbedError, UsageError

PACKAGE_OF = {
    "bridge": "iproute2",
    "ethtool": "ethtool",
    "ip": "iproute2",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "systemd-nspawn": "systemd-container",
    "tc": "iproute2",
}


def say(text: str) -> None:
    """Tell the person at the terminal what is being done."""
    print(f"testbed: {text}", file=sys.stderr, flush=True)


def call(
    *command: str, check: bool = True, input: str | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program on this machine, with its output captured."""
    try:
        done = subprocess.run(
            command, check=False, input=input, timeout=timeout, text=True, capture_output=True,
            stdin=subprocess.DEVNULL if input is None else None,
        )  # fmt: skip
    except FileNotFoundError:
        require_programs([command[0]])
        raise
    except subprocess.TimeoutExpired:
        raise TestbedError(f"'{' '.join(command)}' took longer than {timeout:g} s") from None
    if check and done.returncode:
        raise CommandError(command, done.returncode, done.stdout, done.stderr)
    return done


def quiet(*command: str) -> bool:
    """Run a program whose failure is an answer, not an error."""
    return call(*command, check=False).returncode == 0


def require_root() -> None:
    """Namespaces, mounts and bridges need root."""
    if os.geteuid() != 0:
        raise UsageError("the testbed makes namespaces and mounts, so run it with sudo")


def require_programs(names: Iterable[str]) -> None:
    """Name the Debian packages of all missing programs at once."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        packages = " ".join(sorted({PACKAGE_OF.get(name, name) for name in missing}))
        raise UsageError(f"{', '.join(missing)} not found: apt-get install {packages}")
