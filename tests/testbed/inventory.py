"""The Ansible inventory of the running hosts."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from .errors import UsageError
from .host import SSH_OPTIONS, Host


def render(
    hosts: Iterable[Host], key: Path, extra: Mapping[str, Mapping[str, object]] | None = None
) -> str:
    """The inventory as YAML; `extra` holds more variables, by host name.

    All is said on the hosts, not on a group: only so it wins over the `ansible_connection: local`
    that another inventory may give a host of the same name.
    """
    extra = extra or {}
    known = list(hosts)
    unknown = sorted(set(extra) - {host.name for host in known})
    if unknown:
        raise UsageError(f"no such host: {', '.join(unknown)}")
    # JSON is YAML; it needs no rules of our own for quoting.
    lines = ["all:", "  hosts:" if known else "  hosts: {}"]
    for host in known:
        lines.append(f"    {host.name}:")
        variables = {**connection(host.ip, key), **extra.get(host.name, {})}
        lines += [f"      {name}: {json.dumps(value)}" for name, value in variables.items()]
    return "\n".join(lines) + "\n"


def connection(ip: str, key: Path) -> dict[str, object]:
    """How Ansible reaches a host."""
    return {
        "ansible_connection": "ssh",
        "ansible_host": ip,
        "ansible_user": "root",
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": shlex.join(SSH_OPTIONS),
    }
