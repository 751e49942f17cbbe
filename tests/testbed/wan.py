"""A thin line in user space: rate, delay, jitter, loss, queue and reported speed.

Kernels without sch_netem have no other way. A client's only link is a pair of TAP devices whose
frames pass through this process; a TAP also accepts a speed to report, which veth refuses.
"""

from __future__ import annotations

import argparse
import fcntl
import heapq
import os
import random
import selectors
import signal
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from . import network
from .errors import TestbedError, UsageError
from .settings import Settings
from .shell import call

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
FRAME_BYTES = 65536
STDIN = 0
BATCH = 64  # frames read in one go, so that neither direction starves the other


@dataclass(frozen=True)
class Line:
    """What a line is like; delay and jitter are one-way."""

    up_mbit: float = 5
    down_mbit: float = 20
    delay_ms: float = 20
    jitter_ms: float = 0
    loss_pct: float = 0
    queue_ms: float = 200

    def __post_init__(self) -> None:
        if self.up_mbit <= 0 or self.down_mbit <= 0:
            raise UsageError("a line needs an --up and a --down rate above 0")
        if min(self.delay_ms, self.jitter_ms, self.queue_ms) < 0 or not 0 <= self.loss_pct <= 100:
            raise UsageError("delay, jitter and queue cannot be below 0, nor loss outside 0 to 100")

    def options(self) -> list[str]:
        """This line as command line options."""
        words = []
        for field in fields(self):
            words += [f"--{field.name.rpartition('_')[0]}", str(getattr(self, field.name))]
        return words


class Pipe:
    """One direction of a line: decides when each frame comes out, and which never do."""

    def __init__(
        self, rate_mbit: float, line: Line, chance: Callable[[], float] = random.random
    ) -> None:
        self._bits_per_s = rate_mbit * 1e6
        self._line = line
        self._chance = chance
        self._free_at = 0.0
        self._last_out = 0.0
        self.passed = self.lost = self.dropped = 0

    def offer(self, now: float, size_bytes: int) -> float | None:
        """When a frame arriving now comes out; None when it is lost or the queue is full."""
        if self._chance() * 100 < self._line.loss_pct:
            self.lost += 1
            return None
        start = max(now, self._free_at)
        if (start - now) * 1000 > self._line.queue_ms:
            self.dropped += 1
            return None
        self._free_at = start + size_bytes * 8 / self._bits_per_s
        swing_ms = self._line.jitter_ms * (2 * self._chance() - 1)
        delay_ms = max(0.0, self._line.delay_ms + swing_ms)
        # In order, as on a real line: reordering would make TCP see losses that are not there.
        self._last_out = max(self._last_out, self._free_at + delay_ms / 1000)
        self.passed += 1
        return self._last_out


def tap(name: str) -> int:
    """Make a TAP device that lives as long as its file descriptor."""
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise TestbedError(f"/dev/net/tun: {error.strerror}; load it with 'modprobe tun'") from None
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH14x", name.encode(), IFF_TAP | IFF_NO_PI))
    return fd


def connect(settings: Settings, name: str, address: str, speed_mbit: int | None) -> tuple[int, int]:
    """Make the namespace and both TAPs; (client's side, bridge's side)."""
    network.detach(settings, name)
    netns, link = settings.netns(name), settings.link(name)
    call("ip", "netns", "add", netns)
    network.without_ipv6(netns)
    outer = tap(link)
    call("ip", "link", "set", link, "master", settings.bridge)
    network.label(settings, name)
    draft = f"{link}i"
    inner = tap(draft)
    # The descriptor stays ours while the device moves: no need to enter the namespace.
    call("ip", "link", "set", draft, "netns", netns, "name", network.INSIDE)
    if speed_mbit is not None:
        command = ("ethtool", "-s", network.INSIDE, "speed", str(speed_mbit), "duplex", "full")
        call("ip", "netns", "exec", netns, *command)
    network.configure(settings, netns, address)
    network.use_cubic(netns)
    return inner, outer


def forward(inner: int, outer: int, line: Line) -> None:
    """Carry frames until the process that started this one closes our standard input.

    So an emulator cannot outlive its starter, however that one ends.
    """
    pipes = {inner: Pipe(line.up_mbit, line), outer: Pipe(line.down_mbit, line)}
    peer = {inner: outer, outer: inner}
    waiting: list[tuple[float, int, int, bytes]] = []
    serial = 0
    selector = selectors.PollSelector()
    for fd in (*peer, STDIN):
        selector.register(fd, selectors.EVENT_READ)
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        for key, _ in selector.select(pause):
            if key.fd == STDIN:
                return
            for _ in range(BATCH):
                try:
                    frame = os.read(key.fd, FRAME_BYTES)
                except BlockingIOError:
                    break
                except OSError:
                    return  # the device was deleted
                due = pipes[key.fd].offer(time.monotonic(), len(frame))
                if due is not None:
                    serial += 1
                    heapq.heappush(waiting, (due, serial, peer[key.fd], frame))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, target, frame = heapq.heappop(waiting)
            try:
                os.write(target, frame)
            except OSError:
                continue  # the other end is down or full: a frame lost, as on a real line


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that describe a line."""
    units = {"mbit": "Mbit/s", "ms": "ms", "pct": "percent"}
    for field in fields(Line):
        name, _, unit = field.name.rpartition("_")
        parser.add_argument(
            f"--{name}", type=float, default=field.default, metavar=unit.upper(),
            help=f"{units[unit]} (default {field.default})",
        )  # fmt: skip
    parser.add_argument(
        "--speed", type=int, metavar="MBIT", help="link speed that the client's device reports"
    )


def line_of(options: argparse.Namespace) -> Line:
    """The line that the options describe."""
    return Line(**{f.name: getattr(options, f.name.rpartition("_")[0]) for f in fields(Line)})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the emulator for one client, whose address and bridge are already settled."""
    parser = argparse.ArgumentParser(prog="tests.testbed.wan")
    parser.add_argument("name")
    parser.add_argument("address", metavar="IP/PREFIX")
    add_options(parser)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    try:
        line = line_of(options)
        ends = connect(Settings.from_env(), options.name, options.address, options.speed)
    except TestbedError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return error.exit_code
    print("ready", flush=True)
    forward(*ends, line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
