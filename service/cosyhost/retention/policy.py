"""What may stay, and the time before which everything has to go."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

# An output that was written or fetched so lately is in somebody's hands.
IN_USE_S = 900.0

_BUCKETS = 1024
# Names of so many cost 10 MB.
NAMES = 250_000


class Policy(NamedTuple):
    """Limits; 0 is none. Seconds and bytes.

    `min_free_bytes` is asked of the whole volume, and means nothing for an object store.
    """

    max_age_s: int
    max_bytes: int
    min_free_bytes: int


class Kept:
    """What stays at first: the bytes of all, and time and size of what may go, in 16 bytes each.

    `oldest` is the first of the times.

    Names are kept for `NAMES` only, to save them a second listing; `pages` is None then.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.oldest = float("inf")
        self.times = array("d")
        self.sizes = array("q")
        self.pages: list[str] | None = []

    def add(self, names: Iterable[str], times: Collection[float], sizes: Collection[int]) -> None:
        """Enter what may go; at least one."""
        self.bytes += sum(sizes)
        self.oldest = min(self.oldest, min(times))
        self.times.extend(times)
        self.sizes.extend(sizes)
        if len(self.times) > NAMES:
            self.pages = None
        if self.pages is not None:
            # In one piece they take half the memory and a third of the time; none has a zero in it.
            self.pages.append("\0".join(names))

    def remembered(self, pages: list[str]) -> Iterator[tuple[str, float, int]]:
        """Name, time and size of each of `pages`."""
        names = (name for page in pages for name in page.split("\0"))
        return zip(names, self.times, self.sizes, strict=True)


class Cutoff:
    """All before `time` goes, and of what is exactly as old, `budget` bytes."""

    def __init__(self, time: float, budget: int) -> None:
        self.time = time
        self.budget = budget

    def takes(self, time: float, size: int) -> bool:
        """Whether this one goes; a call for each of the listing, in any order."""
        if time < self.time:
            return True
        if time > self.time or self.budget <= 0:
            return False
        self.budget -= size
        return True


def cutoff(kept: Kept, excess_bytes: int) -> Cutoff:
    """The cutoff that frees at least `excess_bytes`, oldest first.

    Nothing is sorted: bytes are counted in buckets of time, then those of the bucket in which the
    excess is reached in finer ones, until it holds one time only.
    """
    left = excess_bytes
    low, high = min(kept.times, default=0.0), max(kept.times, default=0.0)
    while high > low:
        width = (high - low) / _BUCKETS
        held = [0] * (_BUCKETS + 1)
        for time, size in zip(kept.times, kept.sizes, strict=True):
            if low <= time <= high:
                held[int((time - low) / width)] += size
        for reached, size in enumerate(held):  # noqa: B007
            if left <= size:
                break
            left -= size
        else:
            return Cutoff(high, kept.bytes)
        inside = [t for t in kept.times if low <= t <= high and int((t - low) / width) == reached]
        low, high = min(inside), max(inside)
    return Cutoff(low, left)
