"""Divides what one side lacks into loads that are sent one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_LOAD_BYTES = 256 * 1024 * 1024


def bundle_listed(found: str) -> dict[str, int]:
    """Lines of `find -printf '%s %P\\n'` as sizes in bytes by path; other lines are passed over."""
    rows = (line.partition(" ") for line in found.splitlines())
    return {path: int(size) for size, _, path in rows if size.isdigit() and path}


def bundle_loads(wanted: Mapping[str, int], there: Mapping[str, int]) -> list[dict[str, Any]]:
    """Files that are not there in their full size, in loads of at most 256 MiB or one file.

    What was sent before a run broke off is not sent again.
    """
    loads: list[dict[str, Any]] = []
    for name, size in sorted(wanted.items()):
        if there.get(name) == size:
            continue
        if not loads or loads[-1]["bytes"] + size > _LOAD_BYTES:
            loads.append({"files": [], "bytes": 0})
        loads[-1]["files"].append(name)
        loads[-1]["bytes"] += size
    for number, load in enumerate(loads, 1):
        load["name"] = f"{number}/{len(loads)}: {len(load['files'])} files, {load['bytes']:,} bytes"
    return loads


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"bundle_listed": bundle_listed, "bundle_loads": bundle_loads}
