"""The dashboards are what their code says, what Grafana reads, and what people can read."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import units

from dashboards.__main__ import main, rendered
from tests import prometheus
from tests.questions import FILLED, FOLDER, NEEDS, Question, documents, questions

DOCUMENTS = documents()
PANELS = [(name, panel) for name, document in DOCUMENTS.items() for panel in document["panels"]]
QUESTIONS = questions()
RULES = sorted((Path(__file__).parents[2] / "files/prometheus/rules").glob("*.yml"))
NAMES = {"overview", "network", "requests", "gpu", "storage"}
SELECTOR = re.compile(r"(\w+\()?([a-zA-Z_:][\w:]*)(\{[^}]*\})(\[[^\]]+\])?")
COUNTER = ("_total", "_sum", "_count", "_bucket")
# Made by Prometheus itself: what rules made of the targets' series has no job any more.
MADE = re.compile(r"ALERTS|cosyhost:.*")


def each_panel(name_and_panel: Any) -> str:
    name, panel = name_and_panel
    return f"{name}-{panel['id']}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[prometheus.Prometheus]:
    """A Prometheus that scrapes nothing: it reads queries."""
    with prometheus.running(tmp_path_factory.mktemp("prometheus")) as one:
        yield one


def test_code_and_json_agree() -> None:
    found = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert found == rendered(), "run: make dashboards"


def test_a_dashboard_that_left_the_code_leaves_the_folder(tmp_path: Path) -> None:
    (tmp_path / "cosyhost-old.json").touch()
    main(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"cosyhost-{n}.json" for n in NAMES}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_grafanas_own_model_reads_all_of_it(name: str) -> None:
    plugins.register_default_plugins()
    read = models.Dashboard.from_json(DOCUMENTS[name])
    assert json.loads(json.dumps(read, cls=JSONEncoder)) == DOCUMENTS[name]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_frame(name: str) -> None:
    document = DOCUMENTS[name]
    assert document["uid"] == name
    assert document["editable"] is False
    assert re.search("[一-龥]", document["title"])
    assert re.search("[一-龥]", document["description"])
    others = {f"/d/cosyhost-{other}" for other in NAMES} - {f"/d/{name}"}
    assert {link["url"] for link in document["links"]} == others
    assert all(link["keepTime"] and link["includeVars"] for link in document["links"])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_variables(name: str) -> None:
    source, *others = DOCUMENTS[name]["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == (
        "datasource", "datasource", "prometheus",
    )  # fmt: skip
    for variable in others:
        assert variable["datasource"]["uid"] == "${datasource}"
        assert variable["refresh"] == 2, "read anew when the time changes"
        assert (variable["includeAll"], variable["allValue"]) == (True, ".*")
    exprs = [target["expr"] for panel in DOCUMENTS[name]["panels"] for target in panel["targets"]]
    exprs += [str(variable["query"]) for variable in others]
    used = {word for expr in exprs for word in re.findall(r"\$\w+", expr)}
    known = {f"${variable['name']}" for variable in others}
    assert used - known <= {"$__rate_interval", "$__range"}
    assert known <= used
    assert known <= FILLED.keys()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_panels_lie_side_by_side_and_have_numbers(name: str) -> None:
    panels = DOCUMENTS[name]["panels"]
    assert len(panels) <= 14, "few panels, each a question"
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    taken = [
        {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        for grid in (panel["gridPos"] for panel in panels)
    ]
    assert not any(one & other for one, other in itertools.combinations(taken, 2))
    assert all(0 <= x < 24 for cells in taken for x, _ in cells)


@pytest.mark.parametrize("panel", PANELS, ids=each_panel)
def test_panel_can_be_read(panel: tuple[str, dict[str, Any]]) -> None:
    _, one = panel
    assert re.fullmatch(r"[A-Z].*\? .*[一-龥]+.*？", one["title"]), one["title"]
    english, chinese = one["description"].split("\n\n")
    assert english.endswith(".")
    assert chinese.endswith("。")
    assert re.search("[一-龥]", chinese)
    assert not re.search("[一-龥]", english)
    defaults = one["fieldConfig"]["defaults"]
    known = {value for name, value in vars(units).items() if not name.startswith("_")}
    assert defaults["unit"] in known or defaults["unit"].startswith("suffix:")
    assert defaults["noValue"]
    colour = "palette-classic" if one["type"] == "timeseries" else "thresholds"
    assert defaults["color"]["mode"] == colour
    assert one["targets"]
    legends = [target["legendFormat"] for target in one["targets"]]
    assert len(set(legends)) == len(legends)
    assert "__auto" not in legends
    for link in one.get("links", []):
        assert re.match(r"/d/(\S+?)\?", link["url"])[1] in DOCUMENTS  # type: ignore[index]


@pytest.mark.parametrize("panel", PANELS, ids=each_panel)
def test_panel_takes_the_chosen_datasource(panel: tuple[str, dict[str, Any]]) -> None:
    _, one = panel
    for holder in (one, *one["targets"]):
        assert holder["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@pytest.mark.parametrize("panel", PANELS, ids=each_panel)
def test_bits_are_eight_to_a_byte_and_prefixes_are_si(panel: tuple[str, dict[str, Any]]) -> None:
    _, one = panel
    unit, exprs = one["fieldConfig"]["defaults"]["unit"], [t["expr"] for t in one["targets"]]
    assert not re.search("mbps", json.dumps(one), re.I)
    assert unit not in ("bytes", "binBps", "binbps", "Bps", "bits"), "IEC prefixes, or no bits"
    assert all((unit == "bps") == expr.endswith(" * 8") for expr in exprs)
    assert unit != "bps" or all("_bytes" in expr for expr in exprs)


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_series_are_chosen_by_job_and_counters_by_their_rate(question: Question) -> None:
    found = SELECTOR.findall(question.expr)
    assert found
    for call, name, labels, span in found:
        assert 'tier=~"$tier"' in labels or "Watchdog" in labels, name
        if not MADE.fullmatch(name):
            assert re.search(r'[{,]job=~?"', labels), name
        if name.endswith(COUNTER):
            assert (call, span) in {
                ("rate(", "[$__rate_interval]"), ("increase(", "[$__range]"), ("increase(", "[1h]"),
            }, name  # fmt: skip
        elif span:
            assert call == "predict_linear(", name
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|(by|on|ignoring|group_left) \([^)]*\)", "", question.expr)
    named = set(re.findall(r"\b(?:cosyhost|node|nginx|redis|probe)_\w+", bare))
    assert named <= {name for _, name, _, _ in found}


def test_what_only_some_hosts_can_answer_is_listed() -> None:
    needing = {question.panel: question.needs for question in QUESTIONS if question.needs}
    assert set(needing.values()) == set(NEEDS.values())
    assert not [panel for panel, needs in needing.items() if panel.startswith("Are all GPUs")]
    assert not [
        q
        for q in QUESTIONS
        if q.needs not in ("", "a wire that negotiates")
        and q.dashboard in ("cosyhost-overview", "cosyhost-network", "cosyhost-requests")
    ]


@pytest.mark.skipif(not RULES, reason="no rules in this checkout")
def test_dashboards_and_rules_know_each_other() -> None:
    rules = [
        rule
        for path in RULES
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    read = {name for q in QUESTIONS for name in re.findall(r"cosyhost:[\w:]+", q.expr)}
    assert read <= recorded
    links = {rule["annotations"]["dashboard"] for rule in rules if "alert" in rule}
    assert links <= {f"/d/{name}" for name in DOCUMENTS}


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_prometheus_reads_the_query(question: Question, server: prometheus.Prometheus) -> None:
    assert server.formatted(question.filled)
    server.ask(question.filled)
