"""Metrics in Prometheus' text format, version 0.0.4.

Written out here: importing prometheus_client costs 8 MB of memory, a third of all that the exporter
needs, and the format is this small. promtool and prometheus_client read it in the tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class Family:
    """One metric with its samples: (labels as they are written, value).

    A counter's name ends in `_total`; values are in base units (bytes, seconds, ratios 0 to 1).
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: list[tuple[str, float]] = field(default_factory=list)

    def add(self, labels: str, value: float | None) -> None:
        """A sample; None is one that does not exist."""
        if value is not None:
            self.samples.append((labels, value))


def gauge(name: str, help: str, value: float | None = None) -> Family:
    """A gauge; with a value it has one sample without labels."""
    made = Family(name, "gauge", help)
    made.add("", value)
    return made


def counter(name: str, help: str, value: float | None = None) -> Family:
    """A counter; with a value it has one sample without labels."""
    made = Family(name, "counter", help)
    made.add("", value)
    return made


def labels(**values: str) -> str:
    """Labels as the format writes them."""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items()) + "}"


def rendered(families: Iterable[Family]) -> str:
    """The families that have samples, as text."""
    lines: list[str] = []
    for family in families:
        if family.samples:
            name = family.name
            lines += (f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}")
            # + makes an int of a bool; Python's own spelling of a float is one that Prometheus has.
            lines += [f"{name}{written} {+value}" for written, value in family.samples]
    lines.append("")
    return "\n".join(lines)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
