"""The trail: who had which voice cloned, when, from where, with whose consent, and what came of it.

One JSON line an event, in one file a day (UTC), so that nothing is ever rotated: what is too old
goes file by file (systemd-tmpfiles, told by the role `retention`).
"""

from cosyhost.trail.record import FOLDER, Event, Outcome, Record, moment
from cosyhost.trail.writing import Entry, Trail

__all__ = ["FOLDER", "Entry", "Event", "Outcome", "Record", "Trail", "moment"]
