"""Clients: network namespaces without an operating system, for curl, browsers and measurements."""

from __future__ import annotations

import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from . import network, records
from .errors import TestbedError
from .files import locked
from .host import network_if_unused
from .settings import Settings
from .shell import call
from .wan import Line


class Client:
    """A namespace with one link to the bridge."""

    def __init__(self, settings: Settings, name: str, ip: str) -> None:
        self.name = name
        self.ip = ip
        self._settings = settings

    @property
    def netns(self) -> str:
        """What `ip netns` calls it."""
        return self._settings.netns(self.name)

    def run(
        self, *cmd: str, check: bool = True, timeout: float | None = None, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one of this machine's programs with the client's network."""
        return call(*self.command(*cmd), check=check, timeout=timeout, input=input)

    def command(self, *cmd: str) -> list[str]:
        """The command line that runs a program with the client's network."""
        return ["ip", "netns", "exec", self.netns, *cmd]

    def shape(self, rate: str | None) -> None:
        """Limit the link in both directions, like `5mbit`; None lifts the limit."""
        network.shape(self._settings, self.name, rate)

    def down(self) -> None:
        """Remove the namespace."""
        with locked(self._settings.lock):
            network.detach(self._settings, self.name)
            records.remove_client(self._settings, self.name)
            network_if_unused(self._settings)


class WanClient(Client):
    """A client whose only link is a process that delays, limits and loses frames."""

    def __init__(
        self, settings: Settings, name: str, ip: str, line: Line, reported_speed_mbit: int | None
    ) -> None:
        super().__init__(settings, name, ip)
        self._line = line
        self._speed = reported_speed_mbit
        self._process: subprocess.Popen[str] | None = None

    def connect(self) -> None:
        """Start the emulator, and wait until the link is up."""
        command = [
            sys.executable, "-m", "tests.testbed.wan", self.name,
            f"{self.ip}/{self._settings.subnet.prefixlen}", *self._line.options(),
        ]  # fmt: skip
        if self._speed is not None:
            command += ["--speed", str(self._speed)]
        self._process = subprocess.Popen(
            command, cwd="/", env=self._settings.environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], 10)
        if not ready or self._process.stdout.readline().strip() != "ready":
            self._process.kill()
            _, said = self._process.communicate()
            raise TestbedError(f"the link of {self.name} does not come up: {said.strip()[-300:]}")

    @contextmanager
    def outage(self) -> Iterator[None]:
        """A line that is dead: frames go nowhere, and neither end is told."""
        link = self._settings.link(self.name)
        call("ip", "link", "set", link, "down")
        try:
            yield
        finally:
            call("ip", "link", "set", link, "up")

    def down(self) -> None:
        """Take the link and the namespace away."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.communicate(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.communicate()
            self._process = None
        super().down()
