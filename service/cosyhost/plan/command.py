"""The verb `plan`: options in, the plan printed."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
from collections.abc import Mapping
from typing import Any

from cosyhost.errors import (
    PLAN_NOT_A_NUMBER,
    PLAN_NOT_WHOLE,
    PLAN_OUT_OF_RANGE,
    PLAN_TOO_LARGE,
    PLAN_UNKNOWN_CHOICE,
    Problem,
)
from cosyhost.plan import words
from cosyhost.plan.model import REACHES, RTF_ALONE, Finding, Needs, Plan, make
from cosyhost.plan.sizes import OUTPUT_BYTES_PER_S, PROMPT_BYTES_PER_S

HOLDS, DOES_NOT_HOLD = 0, 3
LANGUAGES = ("zh", "en")
LOAD_LIMIT = 100_000.0


@dataclasses.dataclass(frozen=True)
class Number:
    """An option that takes a number from `low` to `high`."""

    what: str
    low: float
    high: float
    whole: bool = False


@dataclasses.dataclass(frozen=True)
class Choice:
    """An option that takes one of some words."""

    what: str
    choices: tuple[str, ...]


_MBIT = (0.01, 1_000_000.0)
OPTIONS: dict[str, Number | Choice] = {
    "users": Number("people who use it in the same hours", 1, 100_000, whole=True),
    "jobs_per_user_hour": Number("jobs that each of them starts per hour", 0.01, 3600),
    "hours_per_day": Number("busy hours per day, for the disk", 0.1, 24),
    "prompt_s": Number("seconds of prompt audio; the service takes 3 to 30", 3, 30),
    "codec": Choice("how the prompt is sent; the studio chooses flac", tuple(PROMPT_BYTES_PER_S)),
    "audio_s": Number("seconds of speech per job", 0.1, 3600),
    "output": Choice("how the speech is fetched and kept", tuple(OUTPUT_BYTES_PER_S)),
    "up_mbit": Number("a user's line up, in Mbit/s (1 MB/s is 8 Mbit/s)", *_MBIT),
    "down_mbit": Number("a user's line down, in Mbit/s", *_MBIT),
    "link_up_mbit": Number("the server's line up, in Mbit/s; speech goes out here", *_MBIT),
    "link_down_mbit": Number("the server's line down, in Mbit/s; prompts come in here", *_MBIT),
    "gpus": Number("GPUs, over all hosts", 1, 1000, whole=True),
    "jobs_per_gpu": Number("jobs at once on each GPU", 1, 64, whole=True),
    "rtf": Number(
        "seconds of synthesis per second of speech with all of a GPU's jobs running "
        f"(default: {RTF_ALONE} times the jobs per GPU, an assumption)",
        0.001,
        100,
    ),
    "keep_days": Number("days that outputs are kept (default: as the tier has it)", 0.01, 3650),
    "reach": Choice(
        "where the users are; auto takes lines of 1000 Mbit/s and more for a lan", REACHES
    ),
}
_EPILOG = """\
exit status:
  0  the plan holds
  1  a value is not valid (its code and what to do, in both languages)
  2  the command line is wrong
  3  the plan is printed, but something in it does not hold: too few GPUs, a line too thin, a wait,
     an upload or a quota over its limit

Sizes are decimal: 1 MB is 1000000 bytes. Formulas and sources: docs/plan.md in the repository.
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Give the verb its options and its help."""
    parser.description = (
        "Transfer times, capacity, waits, disk and the tier that fits. "
        "Alone it plans a demo for ten people at home."
    )
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    defaults = Needs()
    for name, option in OPTIONS.items():
        default = getattr(defaults, name)
        parser.add_argument(
            _flag(name),
            metavar="|".join(option.choices) if isinstance(option, Choice) else "N",
            help=option.what + ("" if default is None else f" (default: {default})"),
        )
    parser.add_argument("--json", action="store_true", help="print figures instead of sentences")
    parser.add_argument(
        "--lang",
        metavar="|".join(LANGUAGES),
        help="language of the sentences (default: as LC_ALL, LC_MESSAGES or LANG say)",
    )


def run(given: Mapping[str, Any]) -> int:
    """Print the plan for these options (strings by name, None where not given).

    Returns HOLDS, or DOES_NOT_HOLD when something in the plan needs a change.

    Raises:
        Problem: PLAN_*.
    """
    plan = make(needs_of(given))
    language = _language(given.get("lang"), os.environ)
    if given.get("json"):
        print(json.dumps(document(plan), ensure_ascii=False, indent=2))
    else:
        print(words.text(plan, language))
    return DOES_NOT_HOLD if plan.problems else HOLDS


def needs_of(given: Mapping[str, Any]) -> Needs:
    """The needs from options as typed.

    Raises:
        Problem: PLAN_NOT_A_NUMBER, PLAN_NOT_WHOLE, PLAN_OUT_OF_RANGE, PLAN_UNKNOWN_CHOICE,
            PLAN_TOO_LARGE.
    """
    values: dict[str, Any] = {}
    for name, option in OPTIONS.items():
        typed = given.get(name)
        if typed is None:
            continue
        if isinstance(option, Choice):
            values[name] = _chosen(_flag(name), typed, option.choices)
        else:
            values[name] = _number(_flag(name), typed, option)
    needs = Needs(**values)
    if needs.load > LOAD_LIMIT:
        raise Problem(PLAN_TOO_LARGE, load=needs.load, limit=LOAD_LIMIT)
    return needs


def document(plan: Plan) -> dict[str, Any]:
    """The plan as JSON has it: figures with their units in their names, findings with words."""
    whole = dataclasses.asdict(plan)
    whole["holds"] = not plan.problems
    for part in ("reasons", "problems", "notes"):
        whole[part] = [_finding(finding) for finding in getattr(plan, part)]
    return whole


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "figures": dict(finding.figures),
        "en": words.say(finding, "en"),
        "zh": words.say(finding, "zh"),
    }


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _number(flag: str, typed: str, option: Number) -> float | int:
    try:
        value = float(typed)
    except ValueError:
        raise Problem(PLAN_NOT_A_NUMBER, option=flag, given=typed) from None
    if math.isnan(value):
        raise Problem(PLAN_NOT_A_NUMBER, option=flag, given=typed)
    if not option.low <= value <= option.high:
        raise Problem(
            PLAN_OUT_OF_RANGE,
            option=flag,
            given=typed,
            low=f"{option.low:.10g}",
            high=f"{option.high:.10g}",
        )
    if not option.whole:
        return value
    if value != int(value):
        raise Problem(PLAN_NOT_WHOLE, option=flag, given=typed)
    return int(value)


def _chosen(flag: str, typed: str, choices: tuple[str, ...]) -> str:
    if typed not in choices:
        listed = ", ".join(choices)
        raise Problem(PLAN_UNKNOWN_CHOICE, option=flag, given=typed, choices=listed)
    return typed


def _language(typed: str | None, environment: Mapping[str, str]) -> str:
    if typed is not None:
        return _chosen("--lang", typed, LANGUAGES)
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if environment.get(name):
            return "zh" if environment[name].lower().startswith("zh") else "en"
    return "en"
