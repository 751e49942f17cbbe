"""What all dashboards are made of: queries with their labels, panels that are questions, the frame.

A panel is told a question and an answer's meaning, each in English and Chinese: the title carries
the question, the description (the panel's ⓘ) both meanings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as frames
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

_DATASOURCE = common.DataSourceRef("prometheus", "${datasource}")
_NO_DATA = "– (no data 无数据)"
_ORDER = ("overview", "network", "requests", "gpu", "storage")

Panel = stat.Panel | timeseries.Panel | statetimeline.Panel


@dataclass(frozen=True)
class Words:
    """What a panel asks and what its answer means, in both languages."""

    ask: str
    ask_zh: str
    means: str
    means_zh: str

    @property
    def title(self) -> str:
        """The panel's title."""
        return f"{self.ask} {self.ask_zh}"

    @property
    def description(self) -> str:
        """The panel's description."""
        return f"{self.means}\n\n{self.means_zh}"


@dataclass(frozen=True)
class Query:
    """A PromQL expression and how its series are called."""

    expr: str
    legend: str = "__auto"


@dataclass(frozen=True)
class Steps:
    """Where a value turns orange and red; `below` where small values are the bad ones."""

    orange: float | None
    red: float
    below: bool = False


def at(job: str, *matchers: str) -> str:
    """Label matchers of a job's series on the chosen tier."""
    return "{" + ",".join([f'job="{job}"', 'tier=~"$tier"', *matchers]) + "}"


def on_host(job: str, *matchers: str) -> str:
    """The same, on the chosen hosts."""
    return at(job, 'instance=~"$instance"', *matchers)


def quantile(share: float, metric: str, labels: str, by: str = "") -> str:
    """A quantile of a histogram's observations in the last interval."""
    groups = ", ".join(["le", *([by] if by else [])])
    return (
        f"histogram_quantile({share}, "
        f"sum by ({groups}) (rate({metric}_bucket{labels}[$__rate_interval])))"
    )


def answer(
    words: Words,
    unit: str,
    queries: Sequence[Query],
    *,
    steps: Steps | None = None,
    mappings: dict[str, tuple[str, str]] | None = None,
    decimals: int | None = None,
    names_only: bool = False,
    width: int = 6,
) -> stat.Panel:
    """One large figure, or one for each series.

    `mappings` gives a value its words and colour; `names_only` shows the series' names instead of
    their values.
    """
    panel = stat.Panel()
    mode = common.BigValueTextMode.NAME if names_only else common.BigValueTextMode.AUTO
    panel.text_mode(mode).graph_mode(common.BigValueGraphMode.NONE).no_value(_NO_DATA)
    panel.reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.color_scheme(frames.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    panel.thresholds(_thresholds(steps))
    if mappings:
        panel.mappings([_value_map(mappings)])
    if decimals is not None:
        panel.decimals(decimals)
    _dress(panel, words, unit, queries, width, 4, instant=True)
    return panel


def course(
    words: Words,
    unit: str,
    queries: Sequence[Query],
    *,
    steps: Steps | None = None,
    stacked: bool = False,
    lowest: float | None = 0,
    highest: float | None = None,
    limits: str = "",
    width: int = 12,
) -> timeseries.Panel:
    """How values went over time.

    `steps` draws lines where it becomes bad; `limits` names, as a regular expression, the series
    that are limits and are drawn dashed.
    """
    panel = timeseries.Panel()
    panel.color_scheme(frames.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
    panel.no_value(_NO_DATA).show_points(common.VisibilityMode.NEVER)
    panel.fill_opacity(40 if stacked else 10).line_width(1)
    if stacked:
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if lowest is not None:
        panel.min(lowest)
    if highest is not None:
        panel.max(highest)
    panel.thresholds(_thresholds(steps))
    if steps:
        style = common_builders.GraphThresholdsStyleConfig()
        panel.thresholds_style(style.mode(common.GraphThresholdsStyleMode.DASHED))
    if limits:
        dashed = {"fill": "dash", "dash": [8, 6]}
        panel.override_by_regexp(
            f"/{limits}/",
            [
                models.DynamicConfigValue("custom.lineStyle", dashed),
                models.DynamicConfigValue("custom.fillOpacity", 0),
            ],
        )
    legend = common_builders.VizLegendOptions().show_legend(True).calcs(["mean", "max"])
    legend.display_mode(common.LegendDisplayMode.LIST).placement(common.LegendPlacement.BOTTOM)
    panel.legend(legend)
    tooltip = common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
    panel.tooltip(tooltip.sort(common.SortOrder.DESCENDING))
    _dress(panel, words, unit, queries, width, 8)
    return panel


def states(
    words: Words,
    queries: Sequence[Query],
    mappings: dict[str, tuple[str, str]],
    *,
    width: int = 12,
) -> statetimeline.Panel:
    """Which state each series was in over time."""
    panel = statetimeline.Panel()
    panel.color_scheme(frames.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    panel.thresholds(_thresholds(None)).no_value(_NO_DATA).mappings([_value_map(mappings)])
    panel.show_value(common.VisibilityMode.NEVER).row_height(0.8).merge_values(True)
    legend = common_builders.VizLegendOptions().show_legend(True)
    legend.display_mode(common.LegendDisplayMode.LIST).placement(common.LegendPlacement.BOTTOM)
    panel.legend(legend)
    _dress(panel, words, "none", queries, width, 8)
    return panel


def leads_to(panel: Panel, name: str) -> Panel:
    """Give a panel a link to the dashboard that says more, with time and variables kept."""
    link = frames.DashboardLink(f"More 更多: {name}").type(models.DashboardLinkType.LINK)
    link.url(f"/d/cosyhost-{name}?${{__url_time_range}}&${{__all_variables}}")
    panel.links([link])
    return panel


def dashboard(
    name: str,
    title: str,
    words: str,
    panels: Iterable[Panel],
    variables: Iterable[frames.QueryVariable] = (),
) -> models.Dashboard:
    """A dashboard in the common frame: datasource and tier to choose, links to the others."""
    frame = frames.Dashboard(f"CosyHost {_ORDER.index(name) + 1}: {title}")
    frame.uid(f"cosyhost-{name}").description(words).tags(["cosyhost"]).readonly()
    frame.time("now-1h", "now").refresh("30s").timezone("browser")
    frame.tooltip(models.DashboardCursorSync.CROSSHAIR)
    for other in _ORDER:
        if other != name:
            link = frames.DashboardLink(other).type(models.DashboardLinkType.LINK)
            link.url(f"/d/cosyhost-{other}").icon("dashboard").keep_time(True).include_vars(True)
            frame.link(link)
    frame.with_variable(
        frames.DatasourceVariable("datasource").label("Data source").type("prometheus")
    )
    frame.with_variable(choice("tier", 'up{job="web"}', "Tier 层级"))
    for variable in variables:
        frame.with_variable(variable)
    for number, panel in enumerate(panels, 1):
        frame.with_panel(panel.id(number))
    return frame.build()


def choice(label: str, series: str, shown: str) -> frames.QueryVariable:
    """A variable with the values of a label, all of them at first."""
    variable = frames.QueryVariable(label).label(shown).datasource(_DATASOURCE)
    query: dict[str, object] = {"query": f"label_values({series}, {label})", "refId": label}
    variable.query(query).refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    variable.sort(models.VariableSort.ALPHABETICAL_ASC).multi(True).include_all(True)
    # Not a list of all values: a series without the label is among them too.
    variable.all_value(".*").current(models.VariableOption(True, ["All"], ["$__all"]))
    return variable


def hosts() -> frames.QueryVariable:
    """The variable `instance`: every host that our exporter or node's runs on."""
    return choice("instance", 'up{job=~"cosyhost|node",tier=~"$tier"}', "Host 主机")


def _dress(
    panel: Panel,
    words: Words,
    unit: str,
    queries: Sequence[Query],
    width: int,
    height: int,
    instant: bool = False,
) -> None:
    panel.title(words.title).description(words.description).unit(unit)
    panel.datasource(_DATASOURCE).span(width).height(height)
    for number, query in enumerate(queries):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend)
        target.ref_id("ABCDEFGHIJ"[number]).datasource(_DATASOURCE)
        panel.with_target(target.instant() if instant else target.range())


def _thresholds(steps: Steps | None) -> frames.ThresholdsConfig:
    good = models.Threshold(None, "green")
    if steps is None:
        found = [good]
    elif steps.below:
        found = [models.Threshold(None, "red")]
        if steps.orange is not None:
            found.append(models.Threshold(steps.red, "orange"))
        found.append(models.Threshold(steps.red if steps.orange is None else steps.orange, "green"))
    else:
        found = [good]
        if steps.orange is not None:
            found.append(models.Threshold(steps.orange, "orange"))
        found.append(models.Threshold(steps.red, "red"))
    return frames.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(found)


def _value_map(mappings: dict[str, tuple[str, str]]) -> models.ValueMap:
    return models.ValueMap(
        {
            value: models.ValueMappingResult(text, color, None, number)
            for number, (value, (text, color)) in enumerate(mappings.items())
        }
    )
