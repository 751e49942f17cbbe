"""A network of its own for a test: a namespace with links that are made and broken for real."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
# A scrape of the exporter at a port, and the kernel's counters of all links but loopback, at a
# moment when these stood still: IPv6 announces itself whenever it likes.
STILL = """
from urllib.request import urlopen
def kernel():
    with open("/proc/net/dev") as rows:
        return [row for row in rows if ":" in row and not row.lstrip().startswith("lo:")]
for _ in range(100):
    rows = kernel()
    text = urlopen("http://127.0.0.1:%d/metrics", timeout=30).read().decode()
    if kernel() == rows:
        break
result = [text, rows]
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
_numbers = itertools.count()


@dataclass(frozen=True)
class Namespace:
    """A network namespace; `ip netns exec` shows its devices in /sys too."""

    name: str

    @property
    def prefix(self) -> list[str]:
        """What goes before a command that is to run in here."""
        return ["ip", "netns", "exec", self.name]

    def run(self, *command: str) -> str:
        """Run a command in here, which must succeed; its output."""
        done = subprocess.run(
            [*self.prefix, *command], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def batch(self, *lines: str) -> None:
        """Several commands of ip(8) in one process."""
        subprocess.run(
            ["ip", "-netns", self.name, "-batch", "-"],
            input="\n".join(lines),
            text=True,
            check=True,
        )

    def python(self, code: str) -> Any:
        """Run Python in here; what it binds to `result` comes back by way of JSON."""
        wrapped = f"import json, sys\n{code}\njson.dump(result, sys.stdout)"
        return json.loads(self.run(sys.executable, "-c", wrapped))


@contextmanager
def namespace() -> Iterator[Namespace]:
    """A new namespace with its loopback up; it goes with all that is in it."""
    made = Namespace(f"cosyhost-{os.getpid()}-{next(_numbers)}")
    subprocess.run(["ip", "netns", "add", made.name], check=True)
    try:
        made.batch("link set lo up")
        yield made
    finally:
        subprocess.run(["ip", "netns", "delete", made.name], check=True)
