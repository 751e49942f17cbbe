"""The command `cosyhost`: one verb for each process and chore."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cosyhost import __version__, logs
from cosyhost.errors import Problem
from cosyhost.systemd import credential

if TYPE_CHECKING:
    from cosyhost.config import Config

log = logging.getLogger(__name__)

_SERVICE, _HOST = "/etc/cosyhost/cosyhost.toml", "/etc/cosyhost/exporter.toml"


# One function a verb: it describes the verb and leaves behind what runs it, which returns the exit
# status or None. What a verb needs is imported by its own function, and only the verb that was
# asked for is described, so that the exporter has nobody else's modules in its memory.
def _web(verb: argparse.ArgumentParser) -> None:
    """serve the studio and the API"""
    verb.add_argument(
        "--check",
        action="store_true",
        help="start on a free port, ask /readyz and the page, and end: exit status 0 if well",
    )

    def run(options: argparse.Namespace) -> None:
        from cosyhost.web import server

        act = server.check if options.check else server.serve
        act(_settings(options), credential("redis_password"))

    verb.set_defaults(run=run)


def _worker(verb: argparse.ArgumentParser) -> None:
    """run jobs from the queue"""
    verb.add_argument("--gpu", default="0", help="name of the GPU it serves (default: 0)")
    verb.add_argument("--check", action="store_true", help="load the engine, speak once, and end")

    def run(options: argparse.Namespace) -> None:
        from cosyhost import worker

        if options.check:
            worker.check(_settings(options), credential("redis_password"))
        else:
            worker.serve(_settings(options), credential("redis_password"), options.gpu)

    verb.set_defaults(run=run)


def _probe(verb: argparse.ArgumentParser) -> None:
    """let the running service speak one sentence"""
    verb.add_argument(
        "--ready-s",
        type=float,
        default=0,
        metavar="S",
        help="wait so long for the service to be ready (default: %(default)g)",
    )

    def run(options: argparse.Namespace) -> None:
        from cosyhost.probe import probe

        logs.tell(f"cosyhost: {probe(_settings(options), options.ready_s)}")

    verb.set_defaults(run=run)


def _exporter(verb: argparse.ArgumentParser) -> None:
    """tell Prometheus about this host"""
    verb.add_argument("--check", action="store_true", help="tell it once, to itself, and end")

    def run(options: argparse.Namespace) -> None:
        from cosyhost import exporter, host_config

        settings = host_config.load(options.config or Path(_HOST))
        if options.check:
            print(f"cosyhost: {exporter.check(settings)}")
        else:
            exporter.serve(settings)

    verb.set_defaults(run=run)


def _doctor(verb: argparse.ArgumentParser) -> None:
    """say what is wrong with this host: link, disk, GPU, services"""
    from cosyhost.doctor import command

    command.describe(verb, _HOST)
    verb.set_defaults(run=command.run)


def _plan(verb: argparse.ArgumentParser) -> None:
    """say what users, lines and GPUs come to, and which tier fits"""
    from cosyhost.plan import command

    command.describe(verb)
    verb.set_defaults(run=lambda options: command.run(vars(options)))


def _netcheck(verb: argparse.ArgumentParser) -> None:
    """measure the line to a service, and what it means for a prompt"""
    from cosyhost import netcheck

    netcheck.arguments(verb)
    verb.set_defaults(run=netcheck.run)


def _inspect(verb: argparse.ArgumentParser) -> None:
    """say what an audio file's label says: AI-generated, by what, when"""
    from cosyhost import inspect

    inspect.arguments(verb)
    verb.set_defaults(run=inspect.run)


def _relay(verb: argparse.ArgumentParser) -> None:
    """pass alerts on to the bots of chat groups"""
    verb.add_argument(
        "--listen",
        default="127.0.0.1:7862",
        metavar="HOST:PORT",
        help="where Alertmanager sends them (default: %(default)s)",
    )

    def run(options: argparse.Namespace) -> None:
        from cosyhost import relay

        host, _, port = options.listen.rpartition(":")
        relay.serve(host, int(port))

    verb.set_defaults(run=run)


def _retention(verb: argparse.ArgumentParser) -> None:
    """delete outputs that are too old or too many, by the settings' limits"""
    verb.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    verb.add_argument("--json", action="store_true", help="say it as JSON")

    def run(options: argparse.Namespace) -> None:
        from cosyhost.retention import chore

        chore.serve(_settings(options), dry=options.dry_run, as_json=options.json)

    verb.set_defaults(run=run)


def _trail(verb: argparse.ArgumentParser) -> None:
    """print the record of who had which voice cloned"""
    from cosyhost.trail import command

    command.describe(verb)
    verb.set_defaults(run=command.run)


def _keys(verb: argparse.ArgumentParser) -> None:
    """say who may come in: API keys and passwords"""
    from cosyhost.access import command

    command.describe(verb)
    verb.set_defaults(run=lambda options: command.run(options, _settings(options)))


def _check_config(verb: argparse.ArgumentParser) -> None:
    """read the settings and say what is wrong"""

    def run(options: argparse.Namespace) -> None:
        _settings(options)

    verb.set_defaults(run=run)


_VERBS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "web": _web,
    "worker": _worker,
    "probe": _probe,
    "exporter": _exporter,
    "doctor": _doctor,
    "netcheck": _netcheck,
    "plan": _plan,
    "inspect": _inspect,
    "relay": _relay,
    "retention": _retention,
    "trail": _trail,
    "keys": _keys,
    "check-config": _check_config,
}


def _settings(options: argparse.Namespace) -> Config:
    from cosyhost import config

    return config.load(options.config or Path(_SERVICE))


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cosyhost", description="The CosyHost service.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"the settings (default: {_SERVICE}; for the exporter {_HOST})",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, describe in _VERBS.items():
        verb = verbs.add_parser(name, help=describe.__doc__)
        if name in arguments:
            describe(verb)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 well, 1 a problem (one line says which).

    Some verbs have more; their --help says which.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser(arguments).parse_args(arguments)
    logs.set_up()
    try:
        status: int | None = options.run(options)
    except Problem as problem:
        both = f"{problem.sentence('en')} {problem.sentence('zh')}"
        if logs.to_journal():
            log.error("%s", both, extra={"code": problem.kind.code})
        else:
            print(f"cosyhost: {problem.kind.code}: {both}", file=sys.stderr)
        return 1
    return status or 0


if __name__ == "__main__":
    sys.exit(main())
