"""`cosyhost plan`: from users, line and GPUs to transfer times, waits, disk and the tier that fits.

Only Python's own library, so that it runs wherever the sources are.
"""

from cosyhost.plan.report import arguments, document, run, sentences
from cosyhost.plan.sums import LINES, Plan, Wish, plan

__all__ = ["LINES", "Plan", "Wish", "arguments", "document", "plan", "run", "sentences"]
