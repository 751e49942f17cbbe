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


# A tap's carrier is there while a process has it open.
PLUG = """
import fcntl, os, struct, sys
asked = struct.pack("16sH", sys.argv[1].encode(), 0x1002)  # TUNSETIFF, IFF_TAP | IFF_NO_PI
fcntl.ioctl(os.open("/dev/net/tun", os.O_RDWR), 0x400454CA, asked)
print("plugged", flush=True)
sys.stdin.read()
"""


@contextmanager
def port(here: Namespace, device: str, speed: int, duplex: str) -> Iterator[None]:
    """A port in `here` that negotiated this: a veth refuses to say so, a tap does not."""
    here.batch(f"tuntap add mode tap name {device}", f"link set {device} up")
    try:
        here.run("ethtool", "-s", device, "speed", str(speed), "duplex", duplex)
        command = [*here.prefix, sys.executable, "-c", PLUG, device]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as plug:
            assert plug.stdout is not None
            assert plug.stdout.readline() == b"plugged\n"
            yield
            plug.communicate()
    finally:
        here.batch(f"link delete {device}")
