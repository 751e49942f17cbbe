"""The dashboards' queries as tests ask them: each with its variables filled in."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "dashboards/json"

# What Grafana would put in: all of everything, and for a scrape interval of 15 s.
FILLED = {
    "$__rate_interval": "1m",
    "$__range": "1h",
    "$tier": ".*",
    "$instance": ".*",
    "$device": ".*",
}
# Series that only some hosts can have, by prefix; of `gpu_up` each host says something.
NEEDS = {
    "cosyhost_gpu_": "a GPU",
    "cosyhost_retention_": "a retention run",
    "cosyhost_network_speed_": "a wire that negotiates",
    "cosyhost_network_nominal_": "a wire that negotiates",
}


@dataclass(frozen=True)
class Question:
    """One query of one panel."""

    dashboard: str
    panel: str
    expr: str

    @property
    def filled(self) -> str:
        """The query with its variables filled in."""
        return fill(self.expr)

    @property
    def needs(self) -> str:
        """What a host must have for an answer; empty where every host has one."""
        named = self.expr.replace("cosyhost_gpu_up", "")
        if named.endswith("or vector(0)"):
            return ""
        return next((what for prefix, what in NEEDS.items() if prefix in named), "")

    @property
    def jobs(self) -> set[str]:
        """Prometheus' jobs whose series it reads."""
        return set(re.findall(r'job="(\w+)"', self.expr))

    def __str__(self) -> str:
        return f"{self.dashboard} · {self.panel}: {self.expr}"


def fill(expr: str, **values: str) -> str:
    """An expression with its variables filled in; `values` are others, without their $."""
    filled = FILLED | {f"${name}": value for name, value in values.items()}
    return re.sub(r"\$\w+", lambda match: filled[match[0]], expr)


def documents() -> dict[str, dict[str, Any]]:
    """Every dashboard by its file's name without extension."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(FOLDER.glob("*.json"))
    }


def questions() -> list[Question]:
    """Every query of every panel."""
    return [
        Question(name, panel["title"], target["expr"])
        for name, document in documents().items()
        for panel in document["panels"]
        for target in panel["targets"]
    ]
