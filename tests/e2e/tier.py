"""One tier on a real host: its inventory, its playbooks, its front door."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.testbed import Host, Settings, Testbed

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build/e2e" / Settings.from_env().name
BIN = Path(sys.executable).parent
LOCKS = [ROOT / "files/requirements" / f"{part}.txt" for part in ("web", "worker", "exporter")]


@dataclass(frozen=True)
class Run:
    """A playbook or audit that ended."""

    rc: int
    output: str
    seconds: float

    def recap(self, host: str) -> dict[str, int]:
        """A host's line of the recap: ok, changed, failed, ..."""
        line = re.findall(rf"^{re.escape(host)} +: (.*)$", self.output, re.M)[-1]
        return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", line)}

    @property
    def said(self) -> str:
        """The output as one line, for messages that Ansible has wrapped."""
        return " ".join(self.output.split())

    @property
    def tail(self) -> str:
        """What to show when it went wrong."""
        return self.output[-6000:]


@dataclass
class Tier:
    """A tier's inventory with a testbed host in the place of the one it names."""

    name: str
    host: Host
    inventories: list[Path]
    control: Path  # SSH's sockets: a new host must not meet an old one's connection
    url: str = ""
    runs: dict[str, Run] = field(default_factory=dict)
    left_by_check: list[str] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)  # of Ansible, beside the project's

    @classmethod
    def on(cls, name: str, bed: Testbed, host: Host, control: Path) -> Tier:
        """The tier `name`; the wheel is built in a folder of its own, for tiers side by side."""
        folder = BUILD / name
        folder.mkdir(parents=True, exist_ok=True)
        extra = {host.name: {"service_build": str(folder / "wheel")}}
        inventory = folder / "hosts.yml"
        inventory.write_text(bed.inventory_yaml(extra, names=[host.name]), encoding="utf-8")
        return cls(name, host, [ROOT / "inventories" / name, inventory], control)

    # Playbooks

    def command(self, playbook: str, *arguments: str) -> list[str]:
        """The command line of a playbook run."""
        sources = [part for path in self.inventories for part in ("-i", str(path))]
        return [str(BIN / "ansible-playbook"), *sources, f"playbooks/{playbook}.yml", *arguments]

    def environment(self) -> dict[str, str]:
        """Ansible with the project's configuration."""
        return {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.control),
            **self.settings,
        }

    def play(self, playbook: str, *arguments: str) -> Run:
        """Run a playbook to its end."""
        return self._run(self.command(playbook, *arguments))

    def provision(self, *arguments: str) -> Run:
        """site.yml, which must succeed."""
        run = self.play("site", *arguments)
        assert run.rc == 0, run.tail
        return run

    def audit(self, *arguments: str) -> Run:
        """The audit as its users start it."""
        sources = [f"--inventory={path}" for path in self.inventories]
        report = f"--report={self.report}"
        run = [str(BIN / "python"), "-m", "pytest", "-p", "no:cacheprovider", "--color=no"]
        return self._run([*run, "tests/audit", *sources, report, *arguments])

    @property
    def report(self) -> Path:
        """The folder of the last audit's report."""
        return BUILD / self.name / "audit"

    def _run(self, command: Sequence[str]) -> Run:
        began = time.monotonic()
        ended = subprocess.run(
            command, cwd=ROOT, env=self.environment(), stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=1800,
        )  # fmt: skip
        return Run(ended.returncode, ended.stdout, time.monotonic() - began)

    # The host

    def release(self) -> str:
        """The release that `current` points to."""
        return self.host.run("readlink", "/opt/cosyhost/current").stdout.strip()

    def stored(self) -> list[str]:
        """Every file of the voice store."""
        return self.host.run("find", "/var/lib/cosyhost/voices", "-type", "f").stdout.split()

    def client(self) -> httpx.Client:
        """A user's HTTP client."""
        return httpx.Client(base_url=self.url, timeout=120)


@contextmanager
def front_door(host: Host, listen: str) -> Iterator[str]:
    """The URL of a host's nginx; through an SSH tunnel where it listens on loopback only."""
    if not listen.startswith("127."):
        yield f"http://{host.ip}"
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = host.ssh_command()
    command[1:1] = ["-N", "-L", f"127.0.0.1:{port}:{listen}", "-o", "ExitOnForwardFailure=yes"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as tunnel:
        try:
            for _ in range(200):
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert tunnel.poll() is None, f"no tunnel: {shlex.join(command)}"
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            tunnel.terminate()


def mark(host: Host) -> None:
    """Begin to watch a host's files."""
    host.run("sh", "-c", "sleep 0.05; touch /root/.watched; sleep 0.05")


def changes(host: Host) -> list[str]:
    """Files made or changed since `mark`, but for what any login and any apt leaves behind."""
    found = host.run(
        "find", "/", "-xdev",
        "(", "-path", "/proc", "-o", "-path", "/sys", "-o", "-path", "/run", "-o", "-path", "/tmp",
        "-o", "-path", "/root/.ansible", "-o", "-path", "/var/log", "-o", "-path", "/var/cache/apt",
        "-o", "-path", "/var/lib/apt", "-o", "-path", "/var/lib/systemd", "-o", "-path", "/var/tmp",
        "-o", "-path", "/var/lib/dpkg/lock*",
        ")", "-prune", "-o", "-newercm", "/root/.watched", "!", "-type", "d", "-print",
    )  # fmt: skip
    return [path for path in found.stdout.split() if path != "/root/.watched"]
