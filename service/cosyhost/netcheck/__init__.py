"""`cosyhost netcheck URL`: what the line between here and a service carries.

Only Python's own library, so that it runs wherever the sources are.
"""

from cosyhost.netcheck.measure import Checked, Rate, Terms, check
from cosyhost.netcheck.report import (
    NOT_ASKED,
    THIN,
    WELL,
    arguments,
    document,
    rate,
    run,
    sentences,
)

__all__ = [
    "NOT_ASKED",
    "THIN",
    "WELL",
    "Checked",
    "Rate",
    "Terms",
    "arguments",
    "check",
    "document",
    "rate",
    "run",
    "sentences",
]
