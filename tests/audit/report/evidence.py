"""Listens to what checks ask their hosts, and keeps it for the row it belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.audit.report.model import Exchange

# Taken in before secrets are taken out, so well above what is shown of it.
HEARD = 200_000


class Recorder:
    """Hears every command of the hosts it listens to.

    What a fixture asks for is the evidence of each check that uses the fixture, so it is kept
    under the fixture's name; a check's own commands are kept in the frame that is open for it.
    """

    def __init__(self) -> None:
        self._frames: list[list[Exchange]] = []
        self._fixtures: dict[tuple[str, str, str], list[Exchange]] = {}
        self._heard: list[Any] = []

    def listen(self, backend: Any) -> None:
        """Hear a testinfra backend: all modules of testinfra go through its `run`."""
        if any(backend is one for one in self._heard):
            return
        self._heard.append(backend)
        inner = backend.run

        def run(command: str, *args: str, **kwargs: Any) -> Any:
            result = inner(command, *args, **kwargs)
            out, err = _text(result._stdout), _text(result._stderr)
            result.exchange = Exchange(backend.quote(command, *args)[:HEARD], result.rc, out, err)
            self.add(result.exchange)
            return result

        backend.run = run

    def add(self, exchange: Exchange) -> None:
        """Keep an exchange; outside a frame nobody asks for it."""
        if self._frames:
            self._frames[-1].append(exchange)

    @contextmanager
    def frame(self) -> Iterator[list[Exchange]]:
        """What is heard until the context ends."""
        self._frames.append([])
        try:
            yield self._frames[-1]
        finally:
            self._frames.pop()

    @contextmanager
    def fixture(self, place: str, name: str, host: str) -> Iterator[None]:
        """What is heard until the context ends belongs to a fixture."""
        with self.frame() as heard:
            try:
                yield
            finally:
                self._fixtures[place, name, host] = heard

    def of_fixtures(self, nodeid: str, names: Iterable[str], host: str) -> list[Exchange]:
        """What the fixtures of a check were told."""
        return [
            exchange
            for name in names
            for (place, fixture, of), heard in self._fixtures.items()
            if (fixture, of) == (name, host) and nodeid.startswith(place)
            for exchange in heard
        ]


def reword(result: Any, command: str, printed: str) -> None:
    """Say a command and its answer in words that people can read, where both are a program's."""
    exchange = getattr(result, "exchange", None)
    if exchange is not None:
        exchange.command, exchange.stdout = command, printed[:HEARD]


def folded(exchanges: Iterable[Exchange]) -> list[Exchange]:
    """A command that was asked again and again, until its answer was right, once."""
    found: list[Exchange] = []
    for exchange in exchanges:
        if found and found[-1].command == exchange.command:
            exchange.times = found.pop().times + 1
        found.append(exchange)
    return found


def _text(said: str | bytes) -> str:
    # Not by the backend's own decoding: that asks the host for its encoding, with this very `run`.
    return (said if isinstance(said, str) else said.decode("utf-8", "replace"))[:HEARD]
