"""One run: what is too old, then what is too much."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import compress, islice

from cosyhost.retention.places import PAGE, Page, Place
from cosyhost.retention.policy import IN_USE_S, Kept, Policy, cutoff


class Report:
    """What a run found and did. Bytes are those of the files' contents."""

    # No dataclass, here and beside: importing them takes as long as a tenth of a million files.
    def __init__(self) -> None:
        self.seen_files = 0
        self.seen_bytes = 0
        self.old_files = 0
        self.old_bytes = 0
        self.excess_files = 0
        self.excess_bytes = 0
        # Old enough to go, but somebody has just fetched them.
        self.in_use_files = 0
        self.oldest_s: float | None = None
        self.free_bytes: int | None = None
        # What is still missing after all that could go is gone.
        self.lacking_bytes = 0
        self.seconds = 0.0

    @property
    def deleted_files(self) -> int:
        """Of both kinds."""
        return self.old_files + self.excess_files

    @property
    def deleted_bytes(self) -> int:
        """Of both kinds."""
        return self.old_bytes + self.excess_bytes


Progress = Callable[[Report], None]


def run(
    place: Place,
    policy: Policy,
    *,
    now: float,
    dry: bool = False,
    progress: Progress = lambda _: None,
    age: bool = True,
) -> Report:
    """Delete what the policy lets go; with `dry`, only count it.

    `now` are Unix seconds; without `age` nothing goes for its age (the clock is not to be trusted).

    Raises:
        Problem: RETENTION_PLACE. What was deleted until then is gone; the next run goes on.
    """
    return _Run(place, policy, now, dry, progress, age).go()


class _Run:
    def __init__(
        self,
        place: Place,
        policy: Policy,
        now: float,
        dry: bool,
        progress: Progress,
        age: bool,
    ) -> None:
        self.place = place
        self.policy = policy
        self.now = now
        self.dry = dry
        self.progress = progress
        self.age = age
        self.report = Report()

    def go(self) -> Report:
        began = time.monotonic()
        kept = self._age_pass()
        self.report.free_bytes = self.place.free_bytes()
        if (excess := self._excess(kept)) > 0:
            self._excess_pass(kept, excess)
            if not self.dry:
                self.report.free_bytes = self.place.free_bytes()
        self.report.lacking_bytes = self._lacking(kept)
        self.report.seconds = time.monotonic() - began
        return self.report

    def _age_pass(self) -> Kept:
        report, kept = self.report, Kept()
        before, used_since = self._before(), self.now - IN_USE_S
        for page in self.place.pages():
            names, changed, used, sizes = page
            if not names:
                continue
            # Mostly a whole page stays: three looks at it instead of one at each file.
            if before <= min(changed) and max(changed) <= used_since and max(used) <= used_since:
                kept.add(names, changed, sizes)
            else:
                self._sort(page, kept, before, used_since)
            report.seen_files += len(names)
            self.progress(report)
        report.seen_bytes = kept.bytes + report.old_bytes
        if kept.times:
            report.oldest_s = self.now - kept.oldest
        return kept

    def _sort(self, page: Page, kept: Kept, before: float, used_since: float) -> None:
        """Delete of a page what is too old; what is in use stays, and doesn't count as the rest."""
        names, changed, used, sizes = page
        if max(changed) > used_since or max(used) > used_since:
            names, changed, sizes = self._free(page, kept, before, used_since)
        old = [when < before for when in changed]
        young = [not one for one in old]
        gone = list(compress(names, old))
        self.report.old_files += len(gone)
        self.report.old_bytes += sum(compress(sizes, old))
        if len(gone) < len(names):
            kept.add(
                compress(names, young), list(compress(changed, young)), list(compress(sizes, young))
            )
        if not self.dry:
            self.place.remove(gone)

    def _free(
        self, page: Page, kept: Kept, before: float, used_since: float
    ) -> tuple[list[str], list[float], list[int]]:
        """Names, times and sizes of what is in nobody's hands; the rest is only counted."""
        free = []
        for name, changed, used, size in zip(*page, strict=True):
            if changed > used_since or used_since < used <= self.now:
                self.report.in_use_files += changed < before
                kept.bytes += size
            else:
                free.append((name, changed, size))
        return (
            [name for name, _, _ in free],
            [changed for _, changed, _ in free],
            [size for _, _, size in free],
        )

    def _before(self) -> float:
        """What changed before goes for its age."""
        if self.age and self.policy.max_age_s:
            return self.now - self.policy.max_age_s
        return float("-inf")

    def _excess(self, kept: Kept) -> int:
        """Bytes above the quota, or missing in free space, whichever is more."""
        policy, free = self.policy, self.report.free_bytes
        over = kept.bytes - policy.max_bytes if policy.max_bytes else 0
        missing = 0
        if policy.min_free_bytes and free is not None:
            # In a dry run what is too old is still there.
            missing = policy.min_free_bytes - free - (self.report.old_bytes if self.dry else 0)
        return max(over, missing)

    def _excess_pass(self, kept: Kept, excess: int) -> None:
        report, limit = self.report, cutoff(kept, excess)
        for page in self._candidates(kept):
            gone = []
            for name, changed, size in page:
                if changed <= limit.time and limit.takes(changed, size):
                    gone.append(name)
                    report.excess_bytes += size
            report.excess_files += len(gone)
            if not self.dry:
                self.place.remove(gone)
            self.progress(report)

    def _candidates(self, kept: Kept) -> Iterator[Iterable[tuple[str, float, int]]]:
        """What may go: remembered, or listed once more."""
        if kept.pages is not None:
            remembered = kept.remembered(kept.pages)
            while page := list(islice(remembered, PAGE)):
                yield page
            return
        before, used_since = self._before(), self.now - IN_USE_S
        for listed in self.place.pages():
            yield [
                (name, changed, size)
                for name, changed, used, size in zip(*listed, strict=True)
                # In a dry run what is too old is still there.
                if before <= changed <= used_since and not used_since < used <= self.now
            ]

    def _lacking(self, kept: Kept) -> int:
        policy, report = self.policy, self.report
        lacking = 0
        if policy.max_bytes:
            lacking = kept.bytes - report.excess_bytes - policy.max_bytes
        if policy.min_free_bytes and report.free_bytes is not None:
            gained = report.deleted_bytes if self.dry else 0
            lacking = max(lacking, policy.min_free_bytes - report.free_bytes - gained)
        return max(0, lacking)
