"""What our own code costs a visit, as the wheel serves it and nginx compresses it."""

from __future__ import annotations

import gzip
import re

from tests.browser.server import bundled

# Loaded in rare cases only: the other language, the small format, a microphone, plain http.
RARE = ("words.en", "opus", "record", "sha256")


def on_the_wire(files: dict[str, bytes]) -> int:
    """Bytes of the files, compressed one by one."""
    return sum(len(gzip.compress(data, 6)) for data in files.values())


def with_the_script(script: bytes) -> set[str]:
    """The files that a minified script always needs; `import(...)` is for later."""
    return set(re.findall(r'(?:\bfrom|\bimport)"\./([^"]+)"', script.decode()))


def test_a_prompt_from_the_first_look_to_ready_is_light() -> None:
    files = bundled("prompt.js", "prompt.css", "words.en.js", "words.zh.js")
    used = {name: data for name, data in files.items() if not name.startswith(RARE)}
    assert {"prompt.js", "words.zh.js"} < used.keys()
    assert on_the_wire(used) < 18_000


def test_a_job_from_waiting_to_sound_is_light() -> None:
    assert on_the_wire(bundled("job.js", "job.css")) < 12_000


def test_the_first_look_at_the_studio_is_light() -> None:
    files = bundled("studio.js", "studio.css")
    # The stylesheet, the script and what it shares with its later parts, one language.
    names = {"studio.css", "studio.js", *with_the_script(files["studio.js"])}
    first = {name: files[name] for name in files if name in names or name.startswith("words.zh")}
    assert len(first) == len(names) + 1 <= 6
    assert on_the_wire(first) < 25_000
