"""The alerts: each is proved by a case that fires and one that does not, and explained."""

from __future__ import annotations

import functools
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.debs import program
from tests.roles.conftest import ROOT, load

FOLDER = ROOT / "files/prometheus"
RULES = sorted((FOLDER / "rules").glob("*.yml"))
CASES = sorted((FOLDER / "tests").glob("*.yml"))
RUNBOOK = ROOT / "docs/runbook.md"
ALWAYS = {"Watchdog"}  # it is there to fire
TEXTS = ("summary", "summary_zh", "description", "description_zh")
DASHBOARDS = {"overview", "network", "requests", "gpu", "storage"}
SERIES = re.compile(r"^\s*([a-zA-Z_:][a-zA-Z0-9_:]*)")
ASKED = re.compile(r'ALERTS\{alertname="(\w+)"')
LABEL = re.compile(r'(\w+)="([^"]*)"')


@functools.cache
def read(path: Path) -> Any:
    """A YAML file, read once."""
    return load(path)


def rules_of(path: Path) -> list[dict[str, Any]]:
    """All rules of a file."""
    return [rule for group in read(path)["groups"] for rule in group["rules"]]


ALERTS = [(path.stem, rule) for path in RULES for rule in rules_of(path) if "alert" in rule]
IDS = [f"{rule['alert']} {rule['labels'].get('scope', '')}".strip() for _, rule in ALERTS]
NAMES = sorted({rule["alert"] for _, rule in ALERTS})


@dataclass(frozen=True)
class Case:
    """What a test expects of one alert: labels of each that fires, and the series it was given."""

    fired: list[dict[str, str]]
    series: set[str]


def cases(alert: str) -> list[Case]:
    """All that the test files ask about an alert."""
    found = []
    for path in CASES:
        for test in read(path)["tests"]:
            series = {SERIES.findall(one["series"])[0] for one in test["input_series"]}
            for asked in test.get("promql_expr_test", []):
                if alert in ASKED.findall(asked["expr"]) and "pending" not in asked["expr"]:
                    fired = [dict(LABEL.findall(one["labels"])) for one in asked["exp_samples"]]
                    found.append(Case(fired, series))
    return found


def read_by(rule: dict[str, Any]) -> str:
    """A rule's expression, with those of the recorded series it reads."""
    text = str(rule["expr"])
    for path in RULES:
        for other in rules_of(path):
            if other.get("record", "\0") in rule["expr"]:
                text += f" {other['expr']}"
    return text


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run(
        [program("prometheus", "promtool"), *arguments], capture_output=True, text=True, check=False
    )


def test_promtool_finds_the_rules_in_order() -> None:
    ran = promtool("check", "rules", *RULES)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_alerts_fire_when_they_should(path: Path) -> None:
    ran = promtool("test", "rules", path)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_file_of_rules_has_its_tests() -> None:
    assert [path.stem for path in CASES] == [path.stem for path in RULES]
    for path in CASES:
        assert read(path)["rule_files"] == [f"../rules/{path.name}"]


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_a_case_that_fires_and_one_that_does_not(name: str) -> None:
    text = " ".join(read_by(rule) for _, rule in ALERTS if rule["alert"] == name)
    assert [case for case in cases(name) if case.fired], "no case in which it fires"
    if name not in ALWAYS:
        quiet = [case for case in cases(name) if not case.fired]
        assert quiet, "no case in which it stays quiet"
        # Quiet for what it was told, not for want of anything to judge.
        assert any(re.search(rf"\b{series}\b", text) for case in quiet for series in case.series)


@pytest.mark.parametrize(("stem", "rule"), ALERTS, ids=IDS)
def test_every_alert_explains_itself(stem: str, rule: dict[str, Any]) -> None:
    told = rule["annotations"]
    assert set(told) == {*TEXTS, "dashboard", "runbook_url"}
    assert rule["labels"]["severity"] in {"none", "info", "warning", "critical"}
    for name in TEXTS:
        chinese = re.search("[一-龥]", told[name]) is not None
        assert chinese == name.endswith("_zh"), f"{name}: {told[name]}"
    assert told["dashboard"].removeprefix("/d/cosyhost-") in DASHBOARDS
    assert told["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"


@pytest.mark.parametrize(("stem", "rule"), ALERTS, ids=IDS)
def test_an_alert_names_only_labels_that_it_has(stem: str, rule: dict[str, Any]) -> None:
    used = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"][t] for t in TEXTS)))
    own = rule["labels"].items()
    fired = [labels for case in cases(rule["alert"]) for labels in case.fired]
    mine = [labels for labels in fired if own <= labels.items()]
    assert mine, "no case shows its labels"
    # A test may leave out what every target carries.
    for labels in mine:
        assert used <= set(labels) | {"instance", "job", "tier"}, labels


def test_the_runbook_has_a_section_for_every_alert_and_no_other() -> None:
    sections = re.findall(r"(?m)^### (\w+)$", RUNBOOK.read_text(encoding="utf-8"))
    assert sorted(sections) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_section_says_what_it_means_how_to_look_and_what_to_do(name: str) -> None:
    text = RUNBOOK.read_text(encoding="utf-8").split(f"\n### {name}\n", 1)[1]
    section = re.split(r"\n##", text)[0]
    for word in ("**Means**", "**Look**", "**Do**", "**中文**"):
        assert word in section, word
    assert "`" in section, "no command to look with"


def test_a_job_counts_as_bad_for_codes_that_exist() -> None:
    from cosyhost import errors

    known = {kind.code for kind in vars(errors).values() if isinstance(kind, errors.Kind)}
    named = {
        code
        for rule in rules_of(FOLDER / "rules/service.yml")
        for codes in re.findall(r'code=~"([a-z_|]+)"', rule["expr"])
        for code in codes.split("|")
    }
    assert named
    assert named <= known
