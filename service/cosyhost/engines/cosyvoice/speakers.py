"""What was learnt from a prompt audio, kept so that the next job with it starts sooner."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

# 85 KB for a prompt of 5 s, on the GPU: about 120 voices at the longest prompt of 30 s.
_LIMIT_BYTES = 64 << 20


class _Table(dict[str, dict[str, Any]]):
    """Upstream's table, handing out copies.

    Of upstream's versions some write the job's words into the entry they find, and take out of it
    what the job's mode has no use for: the next job would miss it.
    """

    def __getitem__(self, name: str) -> dict[str, Any]:
        return {**super().__getitem__(name)}


class Speakers:
    """Upstream's table of speakers, with an entry for each prompt audio and prompt, oldest out.

    Upstream takes a known speaker's prompt from the table and ignores the one given with the job,
    so an instruction is part of the key (upstream #1400). Nothing is written to disk.
    """

    def __init__(self, upstream: Any, limit_bytes: int = _LIMIT_BYTES) -> None:
        upstream.frontend.spk2info = _Table(upstream.frontend.spk2info)
        self._upstream = upstream
        self._limit_bytes = limit_bytes
        self._sizes: OrderedDict[str, int] = OrderedDict()

    def know(self, prompt_audio: Path, prompt: str) -> str:
        """The speaker's name in the table, entered first if it is new (0.1 s and more)."""
        key = hashlib.sha256(prompt_audio.read_bytes())
        key.update(b"\0" + prompt.encode())
        name = f"cosyhost-{key.hexdigest()}"
        if name not in self._sizes:
            self._upstream.add_zero_shot_spk(prompt, str(prompt_audio), name)
            entry = self._upstream.frontend.spk2info[name]
            self._sizes[name] = sum(getattr(value, "nbytes", 0) for value in entry.values())
        self._sizes.move_to_end(name)
        while sum(self._sizes.values()) > self._limit_bytes and len(self._sizes) > 1:
            oldest, _ = self._sizes.popitem(last=False)
            del self._upstream.frontend.spk2info[oldest]
        return name

    def forget(self) -> None:
        """Drop all entries, for their memory."""
        for name in self._sizes:
            self._upstream.frontend.spk2info.pop(name, None)
        self._sizes.clear()
