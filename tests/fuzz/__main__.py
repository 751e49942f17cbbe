"""`python -m tests.fuzz`: fuzz all targets or those named; one JSON line each.

The exit status is 1 when anything was found.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cosyhost.errors import Problem
from tests.fuzz import TARGETS
from tests.fuzz.harness import fuzz, line


def main() -> int:
    """Fuzz, or run a kept input again."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--cases", type=int, default=100_000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run this input of one target")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if options.replay:
        if len(options.targets) != 1:
            parser.error("--replay needs one target")
        with TARGETS[options.targets[0]].open() as run:
            try:
                run(options.replay.read_bytes())
            except Problem as problem:
                print(problem.kind.code)
                return int(problem.kind.status >= 500)
        return 0
    clean = True
    for name in options.targets or TARGETS:
        totals = fuzz(TARGETS[name], options.cases, options.seed)
        print(line(totals), flush=True)
        clean &= totals.clean
    return int(not clean)


if __name__ == "__main__":
    sys.exit(main())
