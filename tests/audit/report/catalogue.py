"""Every row there is, read from the tests' own markers.

python -m tests.audit.report.catalogue [--write]   the table of docs/audit.md
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.audit.expected import REPOSITORY
from tests.audit.report.model import CONTROLS

TESTS = REPOSITORY / "tests/audit"
PAGE = REPOSITORY / "docs/audit.md"
BEGIN, END = "<!-- rows: made by tests/audit/report/catalogue.py -->\n", "<!-- end of rows -->\n"


@dataclass(frozen=True)
class Entry:
    """A row as its test declares it."""

    id: str
    control: str
    why: str
    zh: str
    group: str
    module: str


def wrong(args: tuple[object, ...], kwargs: Mapping[str, object]) -> str:
    """What a marker `control(id, control, why=..., zh=...)` lacks; empty when it is whole."""
    if len(args) != 2 or args[1] not in CONTROLS:
        return f"control(id, one of {', '.join(CONTROLS)}, why=..., zh=...)"
    lacking = [name for name in ("why", "zh") if not kwargs.get(name)]
    return f"{args[0]} lacks {', '.join(lacking)}" if lacking else ""


def entries(folder: Path = TESTS) -> list[Entry]:
    """All rows, by control; read without running anything."""
    found = [entry for path in sorted(folder.glob("test_*.py")) for entry in _of_module(path)]
    order = list(CONTROLS)
    return sorted(found, key=lambda entry: (order.index(entry.control), entry.id))


def table(rows: Iterable[Entry]) -> str:
    """The rows as the page shows them."""
    lines = ["| control | row | hosts | protects from |", "|---|---|---|---|"]
    lines += [f"| {row.control} | `{row.id}` | {row.group} | {row.why} |" for row in rows]
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """The page with its table made anew."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + table(entries()) + END + rest.partition(END)[2]


def _of_module(path: Path) -> list[Entry]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    whole = next(
        (
            _called(node.value, "group")
            for node in tree.body
            if isinstance(node, ast.Assign)
            and any(isinstance(to, ast.Name) and to.id == "pytestmark" for to in node.targets)
        ),
        None,
    )
    found = []
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
            continue
        marks = {name: call for one in node.decorator_list for name, call in [_mark(one)] if call}
        control = marks.get("control")
        if control is None:
            raise ValueError(f"{path.name}: {node.name} has no row: @pytest.mark.control(...)")
        args = tuple(ast.literal_eval(arg) for arg in control.args)
        kwargs = {str(key.arg): ast.literal_eval(key.value) for key in control.keywords}
        if lacks := wrong(args, kwargs):
            raise ValueError(f"{path.name}: {node.name}: {lacks}")
        group = _called(marks["group"], "group") if "group" in marks else whole
        id, part = map(str, args)
        found.append(Entry(id, part, kwargs["why"], kwargs["zh"], group or "all", path.stem))
    return found


def _mark(node: ast.expr) -> tuple[str, ast.Call | None]:
    """`pytest.mark.NAME(...)` as name and call."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr, node
    return "", None


def _called(node: ast.expr, name: str) -> str | None:
    found, call = _mark(node)
    return str(ast.literal_eval(call.args[0])) if call and found == name else None


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(table(entries()), end="")
