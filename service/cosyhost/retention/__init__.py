"""Keeps outputs within their age, their total size, and the free space that the volume must have.

The order is that of the policy: what is too old goes; then the oldest, until the rest fits the
quota and the volume has its free space. Two passes over the listing at most, and no list of names
is kept: the second pass needs the time only before which everything goes (`Cutoff`), so a million
outputs cost 16 MB and are deleted in the folder's own order, which disks like best.
"""

from cosyhost.retention.policy import Policy
from cosyhost.retention.run import Progress, Report, run

__all__ = ["Policy", "Progress", "Report", "run"]
