"""Is it the wire? Each host's link and uplink: speed, load, direction, losses."""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as models

from dashboards.parts import Query, Steps, Words, answer, choice, course, dashboard, hosts, on_host

_EACH = "{{instance}} {{device}}"
_WAYS = {"receive": "in 入", "transmit": "out 出"}


def _of(metric: str, *matchers: str) -> str:
    return f"cosyhost_network_{metric}{on_host('cosyhost', _DEVICE, *matchers)}"


_DEVICE = 'device=~"$device"'


def _rate(metric: str) -> str:
    return f"rate({_of(metric)}[$__rate_interval])"


def _both_ways(what: str) -> str:
    return f"({_rate(f'receive_{what}_total')} + {_rate(f'transmit_{what}_total')})"


def make() -> models.Dashboard:
    """The dashboard."""
    received, sent = _rate("receive_bytes_total"), _rate("transmit_bytes_total")
    return dashboard(
        "network",
        "is it the wire? 网络",
        "What each host's link and uplink carry, and how well. 各主机链路与上联线路的流量和质量。",
        [
            answer(
                Words(
                    "How fast did the link come up?",
                    "链路协商速率？",
                    "What the card and the switch agreed on. 100 Mb/s on a gigabit port is a cable "
                    "or a port: change it. Virtual cards tell no speed.",
                    "网卡与交换机协商的速率。千兆口只协商到 100 "
                    "Mb/s，多为网线或端口问题。虚拟网卡不报告速率。",
                ),
                "bps",
                [Query(f"{_of('speed_bytes')} * 8", _EACH)],
            ),
            answer(
                Words(
                    "Is that its full speed?",
                    "达到标称速率吗？",
                    "Agreed speed as a share of the nominal one in the inventory.",
                    "协商速率占清单中标称速率的比例。",
                ),
                "percentunit",
                [Query(f"{_of('speed_bytes')} / {_of('nominal_speed_bytes')}", _EACH)],
                steps=Steps(None, 1, below=True),
            ),
            answer(
                Words(
                    "Is it full duplex?",
                    "是全双工吗？",
                    "half: both sides wait for each other and packets collide; set both ends to "
                    "negotiate. unknown: a virtual card.",
                    "half（半双工）会互相等待、产生冲突，"
                    "请两端都设为自动协商。unknown 为虚拟网卡。",
                ),
                "none",
                [
                    Query(
                        f"max by (instance, device, duplex) ({_of('info')})",
                        "{{device}}: {{duplex}}",
                    )
                ],
                names_only=True,
            ),
            answer(
                Words(
                    "Did the cable come loose?",
                    "网线松动过吗？",
                    "How often the carrier came or went in the chosen time. More than 0 without a "
                    "reboot is a loose cable or a dying port.",
                    "所选时间内载波变化的次数。没有重启却大于 0，多为网线松动或端口老化。",
                ),
                "none",
                [Query(f"increase({_of('carrier_changes_total')}[$__range])", _EACH)],
                steps=Steps(1, 4),
                decimals=0,
            ),
            course(
                Words(
                    "How much goes over the line, and how much fits?",
                    "流量多大，线路容量多大？",
                    "Bits per second by direction; dashed: the uplink's capacity as the inventory "
                    "says. A line at its dashed one is full.",
                    "各方向每秒比特数；虚线为清单中的上联容量。曲线贴近虚线即线路已满。",
                ),
                "bps",
                [
                    Query(f"{received} * 8", f"{_EACH} in 入"),
                    Query(f"{sent} * 8", f"{_EACH} out 出"),
                    Query(
                        f"{_of('uplink_capacity_bytes')} * 8",
                        f"{_EACH} capacity 容量 {{{{direction}}}}",
                    ),
                ],
                limits="capacity",
            ),
            course(
                Words(
                    "How full are uplink and link?",
                    "上联和链路有多满？",
                    "Shares of the uplink's capacity, and of the link's own speed. Above 90 % of "
                    "either, transfers wait.",
                    "占上联容量以及链路速率的比例。任一超过 90%，传输就会排队。",
                ),
                "percentunit",
                [
                    *(
                        Query(
                            f"{_rate(f'{way}_bytes_total')} / on (instance, device) "
                            + _of("uplink_capacity_bytes", f'direction="{way}"'),
                            f"{_EACH} uplink 上联 {shown}",
                        )
                        for way, shown in _WAYS.items()
                    ),
                    *(
                        Query(
                            f"{_rate(f'{way}_bytes_total')} / {_of('speed_bytes')}",
                            f"{_EACH} link 链路 {shown}",
                        )
                        for way, shown in _WAYS.items()
                    ),
                ],
                steps=Steps(0.7, 0.9),
            ),
            course(
                Words(
                    "Is one direction much busier than the other?",
                    "一个方向明显更忙吗？",
                    "Share of what goes out in all that passes. Near 100 %: answers fill the line. "
                    "Near 0 %: uploads do. What matters is the fuller direction, beside.",
                    "流出占总流量的比例。接近 100% 为下发占满线路，"
                    "接近 0% 为上传占满；哪个方向更满见旁边的图。",
                ),
                "percentunit",
                [Query(f"{sent} / ({sent} + {received})", _EACH)],
                highest=1,
            ),
            course(
                Words(
                    "Are packets lost or damaged?",
                    "有丢包或坏包吗？",
                    "Share of packets that the card or the kernel dropped or found damaged. Above "
                    "1 % every transfer is slow: look at cable, duplex, then at the driver.",
                    "网卡或内核丢弃、损坏的数据包比例。超过 1% "
                    "会拖慢所有传输：先查网线和双工，再查驱动。",
                ),
                "percentunit",
                [
                    Query(
                        f"{_both_ways('drop')} / clamp_min({_both_ways('packets')}, 1)",
                        f"{_EACH} dropped 丢弃",
                    ),
                    Query(
                        f"{_both_ways('errs')} / clamp_min({_both_ways('packets')}, 1)",
                        f"{_EACH} damaged 损坏",
                    ),
                ],
                steps=Steps(None, 0.01),
            ),
        ],
        [
            hosts(),
            choice(
                "device",
                'cosyhost_network_up{job="cosyhost",tier=~"$tier",instance=~"$instance"}',
                "Device 网卡",
            ),
        ],
    )
