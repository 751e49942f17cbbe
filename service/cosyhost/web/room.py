"""Whether there is room for one more output; where there is little, retention is asked to run now.

The web has no right to start it. It writes one file, which a path unit of systemd watches
(`cosyhost-retention.path`), as the restart button does.
"""

from __future__ import annotations

import time

from cosyhost.errors import STORAGE_FULL, Problem
from cosyhost.systemd import runtime_folder
from cosyhost.web.services import Services

REQUEST_FILE = "retention"
RETRY_AFTER_S = 60


def check(services: Services) -> None:
    """Return if a new output may come.

    Raises:
        Problem: STORAGE_FULL. It goes by itself once there is room again.
    """
    limits, free = services.config.retention, services.store.free_bytes()
    if free is None:
        return
    if free < max(limits.min_free_bytes, limits.refuse_below_bytes):
        _ask_for_retention()
    if free < limits.refuse_below_bytes:
        raise Problem(STORAGE_FULL, retry_after_s=RETRY_AFTER_S)


def _ask_for_retention() -> None:
    folder = runtime_folder()
    if folder is None:
        return
    request = folder / REQUEST_FILE
    # The newest request is enough: a run takes its time.
    if not request.exists() or time.time() - request.stat().st_mtime > RETRY_AFTER_S:
        request.write_text("")
