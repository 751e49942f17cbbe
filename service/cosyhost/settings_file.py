"""A rendered TOML file in, one frozen object out; every key has its type, and no key is unknown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypeVar

import msgspec

from cosyhost.errors import CONFIG_INVALID, Problem

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


def load(path: Path, kind: type[T], check: str) -> T:
    """Read and check a settings file; `check` is the command that reads it for a person.

    Raises:
        Problem: CONFIG_INVALID, naming the file and the first key that is wrong.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        return msgspec.convert(document, kind)
    except OSError as error:
        reason = error.strerror or str(error)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = str(error)
    raise Problem(CONFIG_INVALID, path=path, reason=reason, check=check)
