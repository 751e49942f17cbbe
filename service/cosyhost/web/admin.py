"""/v1/admin: the workers' state, and the restart button.

The web process has no right to restart anything. It writes one file, which a path unit of systemd
watches (`cosyhost-restart.path`); what is in the file is never read.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool

from cosyhost.errors import (
    RESTART_NEEDS_LOGIN,
    RESTART_NOT_ALLOWED,
    RESTART_UNAVAILABLE,
    Problem,
)
from cosyhost.jobs import UnitState
from cosyhost.systemd import runtime_folder
from cosyhost.web.services import Injected, Services

log = logging.getLogger(__name__)
# For the studio, not for programs: operators have playbooks/restart.yml.
router = APIRouter(prefix="/v1/admin", include_in_schema=False)

REQUEST_FILE = "restart"
# What is shown when several workers differ: the first of these that one of them is in.
_BY_CONCERN: tuple[UnitState, ...] = ("stopping", "loading", "failed", "ready")


def state_of(services: Services) -> dict[str, Any]:
    """The workers' state as a whole: `state`, since how many seconds, and how many are in each.

    `away` means that no worker has been heard of lately.
    """
    units = services.fleet.units()
    state = next((name for name in _BY_CONCERN if any(u.state == name for u in units)), "away")
    concerned = [unit for unit in units if unit.state == state]
    return {
        "state": state,
        "for_s": round(max((unit.for_s for unit in concerned), default=0.0), 1),
        "children": sum(unit.children for unit in units),
        "units": {name: sum(u.state == name for u in units) for name in _BY_CONCERN},
        "problem": next((unit.problem for unit in concerned if unit.problem), None),
    }


@router.get("/state")
async def get_state(services: Injected) -> dict[str, Any]:
    """Whether the workers are ready, loading their model, stopping, or failing to load."""
    return await run_in_threadpool(state_of, services)


@router.post("/restart", status_code=202)
async def restart(services: Injected) -> dict[str, Any]:
    """Ask for the workers of this host to be restarted; their running jobs are finished first.

    Asking again while a restart goes on, or within seconds of it, is answered the same and starts
    no other.

    Raises:
        Problem: RESTART_NOT_ALLOWED, RESTART_NEEDS_LOGIN or RESTART_UNAVAILABLE.
    """
    button = services.config.studio.restart_button
    if button == "nobody":
        raise Problem(RESTART_NOT_ALLOWED)
    if button == "admin":
        raise Problem(RESTART_NEEDS_LOGIN)
    return await run_in_threadpool(_ask, services)


def _ask(services: Services) -> dict[str, Any]:
    state = state_of(services)
    folder = runtime_folder()
    if folder is None:
        raise Problem(RESTART_UNAVAILABLE, reason="this process is no systemd service")
    try:
        (folder / REQUEST_FILE).write_text(f"{time.time():.3f}\n", encoding="ascii")
    except OSError as error:
        raise Problem(RESTART_UNAVAILABLE, reason=error.strerror) from error
    log.warning("a restart of the workers was asked for; they are %s", state["state"])
    return state
