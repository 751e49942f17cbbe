"""Is it well? What everybody looks at first; each panel leads to the dashboard that says more."""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as models

from dashboards.parts import (
    Query,
    Steps,
    Words,
    answer,
    at,
    course,
    dashboard,
    leads_to,
    states,
)

# As the rules in files/prometheus have it, whose records the budget's panels read.
OBJECTIVE = 0.99
# Google's SRE workbook, chapter 5: at these rates 2 % of a month's budget goes in an hour, 5 % in
# six. https://sre.google/workbook/alerting-on-slos/
FAST_BURN, SLOW_BURN = 14.4, 6

_WINDOWS = {"5m": "5 min", "30m": "30 min", "1h": "1 h", "6h": "6 h"}
_FIRING = 'alertstate="firing"'
_OTHERS = 'alertname!="Watchdog",tier=~"$tier"'
_WATCHDOG = 'alertname="Watchdog"'
_YES_NO = {"1": ("yes 正常", "green"), "0": ("NO 异常", "red")}


def _burn(window: str) -> str:
    return f'max(cosyhost:slo_errors:ratio{window}{{tier=~"$tier"}}) / {1 - OBJECTIVE:.2f}'


def _uplink_share(way: str) -> str:
    direction = f'direction="{way}"'
    passed = f"rate(cosyhost_network_{way}_bytes_total{at('cosyhost')}[$__rate_interval])"
    fits = f"cosyhost_network_uplink_capacity_bytes{at('cosyhost', direction)}"
    return f"max by (instance) ({passed} / on (instance, device) {fits})"


def make() -> models.Dashboard:
    """The dashboard."""
    up = 'up{job=~".+",tier=~"$tier"}'
    done = at("web", 'outcome="done"')
    ended = at("web", 'outcome=~"done|failed"')
    phases = at("web", 'phase=~"upload|queue|synth|encode"')
    return dashboard(
        "overview",
        "is it well? 总览",
        "Whether the service is well, and if not, where to look. "
        "服务是否正常；不正常时从哪里看起。",
        [
            answer(
                Words(
                    "Can users reach it?",
                    "能访问吗？",
                    "The front door's page and /readyz, asked from outside the service every 15 s. "
                    "NO: somebody who opens the page now sees an error.",
                    "每 15 秒从服务之外访问入口页面和 "
                    "/readyz。异常表示用户现在打开页面会看到错误。",
                ),
                "none",
                [Query(f"min(probe_success{at('blackbox')})", "front door 入口")],
                mappings=_YES_NO,
                width=5,
            ),
            answer(
                Words(
                    "What is down?",
                    "停了几个？",
                    "How many processes Prometheus cannot reach. Which ones: the timeline below.",
                    "Prometheus 访问不到的进程数。具体是哪个，见下方时间线。",
                ),
                "none",
                [Query(f"count({up} == 0) or vector(0)", "down 停止")],
                steps=Steps(None, 1),
                width=4,
            ),
            answer(
                Words(
                    "Do jobs succeed?",
                    "任务成功吗？",
                    "Share of the jobs in the chosen time that no user cancelled. The objective "
                    f"is {OBJECTIVE:.0%}.",
                    f"所选时间内未被用户取消的任务中成功的比例，目标 {OBJECTIVE:.0%}。",
                ),
                "percentunit",
                [
                    Query(
                        f"sum(increase(cosyhost_jobs_total{done}[$__range]))"
                        f" / sum(increase(cosyhost_jobs_total{ended}[$__range]))",
                        "succeeded 成功",
                    )
                ],
                steps=Steps(0.999, OBJECTIVE, below=True),
                decimals=2,
                width=5,
            ),
            answer(
                Words(
                    "Error budget left?",
                    "预算还剩多少？",
                    f"Share of the failures that {OBJECTIVE:.0%} allows over the last 3 days; "
                    "requests that the service refused for reasons of its own count too. Below 0 "
                    "it is spent: mend before you change anything else.",
                    f"最近 3 天内 {OBJECTIVE:.0%} "
                    "目标允许的失败还剩多少，因服务自身原因拒绝的请求也计入。"
                    "低于 0 即已用完，应先修复再做其他变更。",
                ),
                "percentunit",
                [Query(f"1 - {_burn('3d')}", "left 剩余")],
                steps=Steps(0.5, 0, below=True),
                decimals=0,
                width=5,
            ),
            leads_to(
                answer(
                    Words(
                        "Is anybody waiting?",
                        "有人排队吗？",
                        "Jobs in the queue now, and how many may wait before the next is refused.",
                        "当前排队的任务数，以及队列上限（超过后新任务被拒绝）。",
                    ),
                    "none",
                    [
                        Query(f"max(cosyhost_jobs_waiting{at('web')})", "waiting 排队"),
                        Query(f"max(cosyhost_jobs_waiting_limit{at('web')})", "limit 上限"),
                    ],
                    width=5,
                ),
                "requests",
            ),
            leads_to(
                course(
                    Words(
                        "Where do a job's seconds go?",
                        "一个任务的时间花在哪里？",
                        "Mean seconds of the jobs that ended, by phase: the user's upload, the "
                        "queue, synthesis, encoding. The thickest band is what to look at.",
                        "已结束任务各阶段的平均秒数：上传、排队、合成、编码。最宽的一层就是瓶颈。",
                    ),
                    "s",
                    [
                        Query(
                            f"sum by (phase) (rate(cosyhost_job_phase_seconds_sum{phases}"
                            "[$__rate_interval])) / ignoring (phase) group_left "
                            "sum(rate(cosyhost_jobs_total"
                            f"{at('web')}[$__rate_interval]))",
                            "{{phase}}",
                        )
                    ],
                    stacked=True,
                ),
                "requests",
            ),
            course(
                Words(
                    "How fast is the error budget spent?",
                    "错误预算消耗多快？",
                    f"1 spends exactly what an objective of {OBJECTIVE:.0%} allows. Above "
                    f"{FAST_BURN} over an hour and over 5 minutes the alert SloBurnFast comes, "
                    f"above {SLOW_BURN} over 6 hours and over 30 minutes SloBurnSlow.",
                    f"1 表示恰好用完 {OBJECTIVE:.0%} 目标允许的失败。"
                    f"1 小时和 5 分钟都超过 {FAST_BURN} "
                    f"触发 SloBurnFast，6 小时和 30 分钟都超过 {SLOW_BURN} 触发 SloBurnSlow。",
                ),
                "none",
                [Query(_burn(window), shown) for window, shown in _WINDOWS.items()],
                steps=Steps(SLOW_BURN, FAST_BURN),
            ),
            leads_to(
                course(
                    Words(
                        "How full are the hosts' lines?",
                        "主机的线路有多满？",
                        "Share of each uplink's capacity in the inventory, by direction. Above "
                        "90 % users feel it.",
                        "各主机上联线路每个方向的占用比例（容量取自清单），"
                        "超过 90% 用户会感觉到慢。",
                    ),
                    "percentunit",
                    [
                        Query(_uplink_share("receive"), "{{instance}} in 入"),
                        Query(_uplink_share("transmit"), "{{instance}} out 出"),
                    ],
                    steps=Steps(0.7, 0.9),
                ),
                "network",
            ),
            states(
                Words(
                    "Which part was down, and when?",
                    "哪个组件在什么时候停过？",
                    "Each process that Prometheus asks; red: it did not answer.",
                    "Prometheus 采集的每个进程；红色表示当时没有应答。",
                ),
                [Query(f"min by (job, instance) ({up})", "{{job}} · {{instance}}")],
                {"1": ("up 正常", "green"), "0": ("DOWN 停止", "red")},
            ),
            states(
                Words(
                    "Which alerts fired, and when?",
                    "什么时候有哪些告警？",
                    "Red: the alert fired; docs/runbook.md says what to do. Watchdog is always "
                    "there, in green: where it is missing, the alarm itself is broken.",
                    "红色表示告警触发，处理办法见 docs/runbook.md。"
                    "Watchdog 应一直为绿色，若中断说明告警系统本身有故障。",
                ),
                [
                    Query(
                        f"max by (alertname) (ALERTS{{{_FIRING},{_OTHERS}}})"
                        f" or 2 * max by (alertname) (ALERTS{{{_FIRING},{_WATCHDOG}}})",
                        "{{alertname}}",
                    )
                ],
                {"1": ("firing 触发", "red"), "2": ("as it should 正常", "green")},
                width=24,
            ),
        ],
    )
