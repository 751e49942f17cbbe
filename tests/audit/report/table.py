"""The table of the terminal: control, id, check, host, result; below a failure what was found."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

from tests.audit.report.model import RESULTS, Document, Row

COLOURS = {"pass": "green", "skip": "yellow", "waived": "yellow"}
HEADS = ("control", "id", "check", "host", "result")


def show(write: Callable[..., None], rows: Sequence[Row], waivers: Sequence[Document]) -> None:
    """Write it, and what is to be done about the waivers."""
    cells = [(row.control, row.id, row.check, row.host, RESULTS[row.result]) for row in rows]
    widths = [max(_width(line[i]) for line in [HEADS, *cells]) for i in range(len(HEADS))]
    write("")
    write(_line(HEADS, widths), bold=True)
    for row, line in zip(rows, cells, strict=True):
        write(_line(line, widths), **{COLOURS.get(row.result, "red"): True})
        if row.result != "pass":
            for text in [*_found(row.found), f"why: {row.why}"]:
                write(f"    {text}")
        if row.result == "waived" and row.waiver:
            by = f"{row.waiver['by']}: {row.waiver['reason']}"
            write(f"    waived until {row.waiver['until']} by {by}")
    for one in waivers:
        if one["state"] == "unneeded":
            write(f"waiver of {one['id']} for {one['host']}: no longer needed, the row passes")
    failed, waived = sum(row.bad for row in rows), sum(row.result == "waived" for row in rows)
    said = f"{len(rows)} checks, {failed} failed" + (f", {waived} waived" if waived else "")
    write(said, **{"red" if failed else "green": True})


def _found(text: str) -> list[str]:
    return [line[:300] for line in text.splitlines()[:12]] or ["no evidence was given"]


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    pairs = zip(cells, widths, strict=True)
    return "  ".join(cell + " " * (width - _width(cell)) for cell, width in pairs).rstrip()
