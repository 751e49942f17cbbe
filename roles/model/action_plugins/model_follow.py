"""Runs a long command as a unit of its own and shows how far it is, so that nothing looks hung.

    model_follow:
      unit: cosyhost-model
      progress: /path/of/its/progress.json
      properties: [User=cosyhost]
      argv: [program, argument]

The program writes `{"state": "running|done|failed", "text": "one line"}`. When Ansible is killed
the unit goes on, and the next run follows it to its end before it starts its own.
"""

from __future__ import annotations

import json
import shlex
import time
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

LOOK_EVERY_S = 2
# Between two lines of the same percentage.
SHOW_EVERY_S = 15


class ActionModule(ActionBase):
    """Ansible's entry point."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Any:
        """Start the unit and follow it; fails with what the program said."""
        result = super().run(tmp, task_vars)
        given = self._task.args
        if self._task.check_mode:
            return result | {"changed": True, "skipped": False}
        host = (task_vars or {}).get("inventory_hostname", "?")
        unit, progress = given["unit"], given["progress"]
        self._follow(host, unit, progress)
        properties = [f"--property={line}" for line in given["properties"]]
        # No --collect: what a failed one said stays, until the next one begins.
        start = ["systemd-run", "--quiet", f"--unit={unit}", *properties, *given["argv"]]
        begin = f"systemctl reset-failed {unit} 2>/dev/null; rm -f {shlex.quote(progress)}; "
        done = self._low_level_execute_command(begin + shlex.join(start), executable="/bin/sh")
        if done["rc"]:
            raise AnsibleActionFail(done["stderr"] or done["stdout"])
        told = self._follow(host, unit, progress)
        if told.get("state") != "done":
            said = told.get("text") if told.get("state") == "failed" else None
            journal = (
                f"journalctl --namespace=+cosyhost --unit={unit} --output=cat --lines=15 --no-pager"
            )
            said = said or self._low_level_execute_command(journal)["stdout"]
            raise AnsibleActionFail(said or f"{unit} ended and said nothing")
        return result | {"changed": True, "msg": told["text"]}

    def _follow(self, host: str, unit: str, progress: str) -> dict[str, Any]:
        """Show the unit's lines until it has ended; returns what it wrote last."""
        look = f"systemctl is-active {unit}; cat {shlex.quote(progress)} 2>/dev/null || echo '{{}}'"
        shown, when = "", 0.0
        while True:
            seen = self._low_level_execute_command(look)["stdout"]
            state, _, written = seen.partition("\n")
            try:
                told: dict[str, Any] = json.loads(written)
            except ValueError:
                told = {}
            if state.strip() not in ("active", "activating"):
                return told
            text = str(told.get("text", ""))
            whole = text.partition(".")[0]
            if text and (whole != shown or time.monotonic() - when > SHOW_EVERY_S):
                Display().display(f"{host}: {text}")
                shown, when = whole, time.monotonic()
            time.sleep(LOOK_EVERY_S)
