"""The command `cosyhost`: one verb for each process and chore."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from cosyhost import __version__, config
from cosyhost.errors import Problem
from cosyhost.systemd import credential


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cosyhost", description="The CosyHost service.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--config",
        type=Path,
        default=config.DEFAULT_PATH,
        metavar="FILE",
        help="the settings (default: %(default)s)",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    web = verbs.add_parser("web", help="serve the studio and the API")
    web.add_argument(
        "--check",
        action="store_true",
        help="start on a free port, ask /readyz and the page, and end: exit status 0 if well",
    )
    worker = verbs.add_parser("worker", help="run jobs from the queue")
    worker.add_argument("--gpu", default="0", help="name of the GPU it serves (default: 0)")
    worker.add_argument("--check", action="store_true", help="load the engine, speak once, and end")
    probe = verbs.add_parser("probe", help="let the running service speak one sentence")
    probe.add_argument(
        "--ready-s",
        type=float,
        default=0,
        metavar="S",
        help="wait so long for the service to be ready (default: %(default)g)",
    )
    retention = verbs.add_parser(
        "retention", help="delete outputs that are too old or too many, by the settings' limits"
    )
    retention.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    retention.add_argument("--json", action="store_true", help="say it as JSON")
    verbs.add_parser("check-config", help="read the settings and say what is wrong")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 well, 1 a problem (one line says which)."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        settings = config.load(options.config)
        if options.verb == "web":
            from cosyhost.web import server

            run = server.check if options.check else server.serve
            run(settings, credential("redis_password"))
        elif options.verb == "worker":
            from cosyhost import worker

            if options.check:
                worker.check(settings, credential("redis_password"))
            else:
                worker.serve(settings, credential("redis_password"), options.gpu)
        elif options.verb == "probe":
            from cosyhost.probe import probe

            print(f"cosyhost: {probe(settings, options.ready_s)}")
        elif options.verb == "retention":
            from cosyhost.retention import chore

            chore.serve(settings, dry=options.dry_run, as_json=options.json)
    except Problem as problem:
        both = f"{problem.sentence('en')} {problem.sentence('zh')}"
        print(f"cosyhost: {problem.kind.code}: {both}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
