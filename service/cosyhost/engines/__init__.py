"""The engines: one small interface, and the one place that knows which of them runs."""

from __future__ import annotations

from cosyhost.engines.interface import Engine, Speech
from cosyhost.engines.proof import prove

__all__ = ["Engine", "Speech", "create", "prove"]


def create(kind: str) -> Engine:
    """The engine of that kind (`[engine] kind` of the settings), not yet loaded."""
    if kind == "espeak":
        from cosyhost.engines.espeak import Espeak

        return Espeak()
    raise ValueError(f"no engine of kind {kind!r}")
