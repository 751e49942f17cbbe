"""What a visit costs, as the wheel serves it and nginx compresses it."""

from __future__ import annotations

import gzip

from tests.browser.server import static_file

FIRST = ["prompt.js", "words.zh.js", "prompt.css"]
WHEN_USED = ["session.js", "sound.js", "uploader.js", "wave.js", "memory.js", "flac.js"]


def on_the_wire(names: list[str]) -> int:
    """Bytes of the files, compressed one by one."""
    return sum(len(gzip.compress(static_file(name), 6)) for name in names)


def test_our_own_code_is_light() -> None:
    assert on_the_wire(FIRST) < 10_000
    assert on_the_wire(FIRST + WHEN_USED) < 20_500
