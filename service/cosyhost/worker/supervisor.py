"""Watches the children and the consumer: ends what hangs, and tells systemd how it goes."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable

from cosyhost.errors import ENGINE_FAILED
from cosyhost.jobs import UnitState
from cosyhost.systemd import notify
from cosyhost.worker.consumer import Pulse
from cosyhost.worker.slots import Slot, Slots

log = logging.getLogger(__name__)

_EVERY_S = 1.0
# A child says every second that it is there; one that is stopped or holds the interpreter does not.
_CHILD_SILENT_S = 20.0
# Celery tries every 2 to 30 s to reach a broker that is away; only later the consumer is stuck.
_CONSUMER_SILENT_S = 45.0
_NOTHING_BEGUN_S = 30.0
_NO_CHILD_S = 30.0


class Supervisor:
    """Decides every second whether this worker can take or progress a job.

    While it can, systemd's watchdog is fed; when it is not, systemd ends the worker and starts it
    anew. That is the cure for a consumer that stands still and for a pool that does not replace its
    children. A single child that hangs is ended here, and its job is taken up by another.

    An unreachable Redis is no reason: starting anew would not bring it back, but cost the loaded
    models, and Celery connects again by itself. So the consumer's silence counts only from the
    last failure to reach Redis (`queue_failed`).
    """

    def __init__(self, slots: Slots, pulse: Pulse, load_timeout_s: float) -> None:
        self._slots = slots
        self._pulse = pulse
        self._load_timeout_s = load_timeout_s
        now = time.monotonic()
        self._had_child = self._all_busy = self._queue_failed = self._since = now
        self._state: UnitState = "loading"
        self._unwell = ""
        self._stopping = False
        self.ever_ready = False

    # What others tell

    def queue_failed(self) -> None:
        """Redis could not be reached just now."""
        self._queue_failed = time.monotonic()

    def failed_before(self) -> None:
        """The worker that ran here before this one could not load its engine."""
        if self._state == "loading":
            self._state = "failed"

    def stop(self) -> None:
        """The worker ends once its jobs are done."""
        self._stopping = True
        notify("STOPPING=1")
        self._look(time.monotonic())

    # What others ask

    def state(self) -> tuple[UnitState, float, int, str]:
        """The state, since how many seconds, how many children are ready, and the last problem."""
        ready = sum(1 for slot in self._slots if slot.ready_since and slot.is_alive())
        problem = next((slot.problem.decode() for slot in self._slots if slot.problem), "")
        return self._state, time.monotonic() - self._since, ready, problem

    def wait_until_loaded(self, told_to_stop: Callable[[], bool]) -> bool:
        """Wait for the first child; False when none can load its engine. True if told to stop."""
        while not told_to_stop():
            time.sleep(0.05)
            if any(slot.ready_since for slot in self._slots):
                self.ever_ready = True
                return True
            if all(slot.pid and not slot.is_alive() for slot in self._slots):
                return False
        return True

    # The rounds

    def start(self) -> None:
        """Watch, in a thread of its own, as long as the process lives."""
        threading.Thread(target=self._watch, name="supervisor", daemon=True).start()

    def _watch(self) -> None:
        while True:
            now = time.monotonic()
            for slot in self._slots:
                if reason := self._hangs(slot, now):
                    self._end(slot, reason)
            self._look(now)
            time.sleep(_EVERY_S)

    def _hangs(self, slot: Slot, now: float) -> str:
        """Why the child must end; empty when it is well, or gone."""
        if not slot.is_alive():
            return ""
        if slot.loading_since:
            if self._stopping:
                return "it was still loading when the worker was stopped"
            if now - slot.loading_since > self._load_timeout_s:
                return f"it was loading for {now - slot.loading_since:.0f} s"
            return ""
        if slot.job_until and now > slot.job_until:
            return "its job went on beyond its limit"
        if now - slot.beat > _CHILD_SILENT_S:
            return f"it gave no sign of life for {now - slot.beat:.0f} s"
        return ""

    def _end(self, slot: Slot, reason: str) -> None:
        log.error("a child is ended: %s", reason, extra={"child": slot.pid})
        if slot.loading_since and not self._stopping:
            slot.not_loaded(ENGINE_FAILED.code)
        with contextlib.suppress(ProcessLookupError):
            os.kill(slot.pid, signal.SIGKILL)

    def _look(self, now: float) -> None:
        state, unwell = self._judge(now), self._why_unwell(now)
        if state != self._state:
            log.info("worker is %s, after %.1f s %s", state, now - self._since, self._state)
            if state == "ready":
                notify("READY=1")
            self._state, self._since = state, now
        if unwell and unwell != self._unwell:
            log.error("the watchdog is not fed any more: %s", unwell)
        self._unwell = unwell
        notify(f"STATUS={self._line(now)}" + ("" if unwell else "\nWATCHDOG=1"))

    def _judge(self, now: float) -> UnitState:
        if self._stopping:
            return "stopping"
        if any(slot.ready_since and slot.is_alive() for slot in self._slots):
            return "ready"
        if any(slot.problem for slot in self._slots):
            return "failed"
        return "failed" if self._state == "failed" else "loading"

    def _line(self, now: float) -> str:
        """What `systemctl status` shows."""
        since = f"({now - self._since:.0f} s)"
        _, _, ready, problem = self.state()
        return {
            "ready": f"ready: {ready} of {len(self._slots)} children",
            "loading": f"loading model {since}",
            "stopping": f"stopping: the running jobs are finished first {since}",
            "failed": f"the engine did not load, trying again {since} {problem}",
        }[self._state] + (f"; UNWELL: {self._unwell}" if self._unwell else "")

    def _why_unwell(self, now: float) -> str:
        """Why this worker can neither take nor progress a job; empty when it can."""
        if self._stopping:
            return ""
        alive = [slot for slot in self._slots if slot.is_alive()]
        if alive:
            self._had_child = now
        if now - self._had_child > _NO_CHILD_S:
            return f"no child for {now - self._had_child:.0f} s"
        if not any(slot.ready_since and not slot.job_until for slot in alive):
            self._all_busy = now
        begun = self._pulse.unbegun_since
        if begun and now - max(begun, self._all_busy) > _NOTHING_BEGUN_S:
            return f"a job was not begun for {now - begun:.0f} s though a child is free"
        # Before the first child is loaded the consumer does not turn yet.
        if not self._pulse.beat:
            return ""
        heard = max(self._pulse.beat, self._queue_failed)
        if now - heard > _CONSUMER_SILENT_S:
            return f"the consumer gave no sign of life for {now - heard:.0f} s"
        return ""
