"""Reads what nvidia-smi prints."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

FIELDS = ("index", "uuid", "name", "driver", "capability", "memory_mb")


def engine_gpus(text: str) -> list[dict[str, Any]]:
    """The GPUs in `nvidia-smi --query-gpu=index,uuid,name,driver_version,compute_cap,memory.total
    --format=csv,noheader,nounits`; lines that are none (warnings, errors) are left out.

    `memory_mb` is in MiB, 0 where it is not told (`[N/A]`).
    """
    found = []
    for line in text.splitlines():
        values = [value.strip() for value in line.split(",")]
        if len(values) != len(FIELDS) or not values[0].isdigit():
            continue
        gpu: dict[str, Any] = dict(zip(FIELDS, values, strict=True))
        memory = re.match(r"\d+", values[-1])
        found.append(gpu | {"memory_mb": int(memory[0]) if memory else 0})
    return found


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"engine_gpus": engine_gpus}
