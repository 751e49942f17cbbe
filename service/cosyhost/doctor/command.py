"""The verb `doctor`: its options, and where its settings come from."""

from __future__ import annotations

import argparse
import locale
from pathlib import Path

from cosyhost import host_config
from cosyhost.doctor.run import FAULTS, WARNINGS, WELL
from cosyhost.doctor.run import run as look

MEASURED_S = 3.0
_EPILOG = f"""\
exit status:
  {WELL}  all is well
  1  the settings cannot be read
  {WARNINGS}  there are warnings
  {FAULTS}  there are faults

It changes nothing. As root it sees more: the outputs' folder is closed to others.
"""


def describe(verb: argparse.ArgumentParser, default: str) -> None:
    """Give the verb its options and its help; `default` is where the settings usually are."""
    verb.description = "Looks at this host's link, disk, GPU and services. Reads " + default + "."
    verb.epilog = _EPILOG
    verb.formatter_class = argparse.RawDescriptionHelpFormatter
    verb.add_argument("--json", action="store_true", help="say it as JSON")
    verb.add_argument(
        "--seconds",
        type=_seconds,
        default=MEASURED_S,
        metavar="S",
        help="how long the link's rate is measured (default: %(default)g)",
    )
    verb.add_argument(
        "--lang",
        choices=("zh", "en", "both"),
        help="language of the sentences (default: as LANG says)",
    )
    verb.set_defaults(settings=default)


def run(options: argparse.Namespace) -> int:
    """Look and print; returns the exit status.

    Raises:
        Problem: CONFIG_INVALID, for settings that are there and wrong.
    """
    path = options.config or Path(options.settings)
    known = options.config is not None or path.exists()
    config = host_config.load(path) if known else None
    language = options.lang or ("zh" if (locale.getlocale()[0] or "").startswith("zh") else "en")
    return look(config, seconds=options.seconds, as_json=options.json, language=language)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 60:
        raise argparse.ArgumentTypeError("from 0.1 to 60")
    return seconds
