"""The plan told: sentences and a table in both languages, JSON, and the command's arguments."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from cosyhost import wire
from cosyhost.plan.sums import GPUS_OF_A_HOST, LINES, PAGE_BYTES, Plan, Wish, plan

_WORDS: dict[str, dict[str, str]] = {
    "en": {
        "prompt": "A prompt of {prompt_s:g} s as {codec} has {prompt_bytes}: {upload_s} over a "
        "user's {up_mbit:g} Mbit/s. {audio_s:g} s of speech, {output_bytes}, come back in "
        "{download_s}.",
        "page": "The first visit loads {page_bytes}: {page_s} at {down_mbit:g} Mbit/s; a page of "
        "5 to 10 MB that nobody made lighter would take {heavy_page_s}.",
        "together": "All {users} users at once move {together_bytes}: {together_s} over the "
        "service's line of {link_up_mbit:g} Mbit/s up, {link_down_mbit:g} down. On average it is "
        "{line_load} full.",
        "speak": "{gpus} GPU(s) with {jobs_per_gpu} jobs each speak {at_once} at once, "
        "{synthesis_s} a job (RTF {rtf:g}): {jobs_per_hour_at_most:.0f} jobs an hour at most, "
        "{jobs_per_hour:.0f} expected, load {gpu_load}.",
        "wait": "Queue (M/M/c, Erlang C): {waiting_share} of jobs wait, {wait_mean_s} on average; "
        "95 % begin within {wait_p95_s}. From pressing Generate to the last sound: "
        "{first_to_last_s} on average. Up to {users_at_most} users, 95 % would begin within 20 s.",
        "endless": "Queue (M/M/c): the GPUs cannot keep up, so it grows without end, until it is "
        "full and users get 429. {gpus_needed} GPUs would do; these hold {users_at_most} users.",
        "disk": "Outputs fill {disk_bytes_per_day} a day of {hours_per_day:g} h.",
        "tier": "Recommended tier: {tier}. {reasons}",
        "one_user": "One user needs no door to others.",
        "gigabit": "Users and service share a gigabit network, where no upload is in the way.",
        "trial": "{users} users over the internet fit one host; its line must carry 50 Mbit/s "
        "both ways.",
        "many_users": "{users} users are more than a trial on one host.",
        "more_gpus": "{gpus_needed} GPUs are needed, more than the {most} of one host.",
        "thin_line": "But the service's line is under 50 Mbit/s: get a quicker one, or put the "
        "service on a cloud host.",
        "line_full": "But the service's line would be {line_load} full on average: get a quicker "
        "one, or send flac or opus.",
        "table": "Seconds to upload a prompt of {prompt_s:g} s",
        "line": "line, Mbit/s up",
        "lan": "LAN",
        "business": "business, symmetric",
        "home": "home, 100M",
        "hotspot": "phone hotspot",
        "seconds": "{} s",
        "quick": "under 0.1 s",
        "to": "{} to {}",
        "join": " ",
    },
    "zh": {
        "prompt": "{prompt_s:g} 秒提示音频按 {codec} 为 {prompt_bytes}：用户上行 {up_mbit:g} "
        "Mbit/s 时上传需 {upload_s}；{audio_s:g} 秒语音 {output_bytes}，取回需 {download_s}。",
        "page": "首次打开页面 {page_bytes}：{down_mbit:g} Mbit/s 时需 {page_s}；"
        "若是未经优化的 5 到 10 MB 页面，则需 {heavy_page_s}。",
        "together": "{users} 人同时使用共 {together_bytes}：经服务的线路（上行 {link_up_mbit:g}、"
        "下行 {link_down_mbit:g} Mbit/s）需 {together_s}；线路平均占用 {line_load}。",
        "speak": "{gpus} 块 GPU、每块 {jobs_per_gpu} 个任务：同时合成 {at_once} 个，"
        "每个 {synthesis_s}（RTF {rtf:g}）；每小时最多 {jobs_per_hour_at_most:.0f} 个，"
        "预计 {jobs_per_hour:.0f} 个，负载 {gpu_load}。",
        "wait": "排队（M/M/c，Erlang C）：{waiting_share} 的任务要等，平均 {wait_mean_s}；"
        "95% 在 {wait_p95_s} 内开始。从按下“生成”到整段语音取回，平均 {first_to_last_s}。"
        "{users_at_most} 人以内，95% 可在 20 秒内开始。",
        "endless": "排队（M/M/c）：GPU 跟不上，队列会一直变长，直到排满返回 429。"
        "需要 {gpus_needed} 块 GPU；现有的可供 {users_at_most} 人使用。",
        "disk": "输出每天（{hours_per_day:g} 小时）占用 {disk_bytes_per_day}。",
        "tier": "建议级别：{tier}。{reasons}",
        "one_user": "一个人使用，不需要对外开放。",
        "gigabit": "用户与服务同在千兆网络，上传不会成为瓶颈。",
        "trial": "{users} 人经互联网使用，一台主机即可；其线路上下行均须达到 50 Mbit/s。",
        "many_users": "{users} 人已超出单机试用的规模。",
        "more_gpus": "需要 {gpus_needed} 块 GPU，超过单机的 {most} 块。",
        "thin_line": "但服务的线路不足 50 Mbit/s：请换更快的线路，或放到云主机上。",
        "line_full": "但服务的线路平均占用将达 {line_load}：请换更快的线路，或改用 flac、opus。",
        "table": "上传 {prompt_s:g} 秒提示音频的用时",
        "line": "线路，上行 Mbit/s",
        "lan": "局域网",
        "business": "商务专线（对称）",
        "home": "家庭宽带（100M）",
        "hotspot": "手机热点",
        "seconds": "{} 秒",
        "quick": "不到 0.1 秒",
        "to": "{} 到 {}",
        "join": "",
    },
}
LANGUAGES = tuple(_WORDS)

# Each argument: what it is, lowest, highest. Bounds keep the sums meaningful and quick.
_BOUNDS: dict[str, tuple[str, float, float]] = {
    "users": ("people who use it", 1, 10_000),
    "prompt_s": ("seconds of a prompt", 1, 60),
    "up_mbit": ("a user's upload, Mbit/s", 0.01, 100_000),
    "down_mbit": ("a user's download, Mbit/s", 0.01, 100_000),
    "link_up_mbit": ("the service's upload, Mbit/s", 0.01, 100_000),
    "link_down_mbit": ("the service's download, Mbit/s", 0.01, 100_000),
    "gpus": ("GPUs", 1, 1000),
    "jobs_per_gpu": ("jobs at once on each", 1, 100),
    "rtf": ("seconds of synthesis a second of speech, with all jobs at work", 0.001, 10),
    "audio_s": ("seconds of speech a job", 1, 120),
    "jobs_per_user_hour": ("jobs of a user in an hour", 0.01, 60),
    "hours_per_day": ("hours of use a day", 0.1, 24),
}
_WHOLE = ("users", "gpus", "jobs_per_gpu")
_SHORT = {"link_up_mbit": "--link-up", "link_down_mbit": "--link-down"}


def sentences(planned: Plan, lang: str) -> list[str]:
    """What comes out of the sums, in order of what a job meets."""
    words = _WORDS[lang]
    said: dict[str, Any] = {**asdict(planned.wish), "most": GPUS_OF_A_HOST}
    for field in fields(planned):
        name, value = field.name, getattr(planned, field.name)
        if name.endswith("_bytes") or name.startswith("disk_bytes"):
            said[name] = _size(value)
        elif name in ("line_load", "gpu_load", "waiting_share"):
            said[name] = "<1%" if 0 < value < 0.01 else f"{value * 100:.0f}%"
        elif isinstance(value, float) and name.endswith("_s"):
            said[name] = _seconds(value, words)
        else:
            said[name] = value
    said["page_bytes"] = _size(PAGE_BYTES)
    said["heavy_page_s"] = words["to"].format(*(_seconds(s, words) for s in planned.heavy_page_s))
    said["reasons"] = words["join"].join(words[key].format(**said) for key in planned.reasons)
    told = ("prompt", "page", "together", "speak", "wait" if planned.stable else "endless", "disk")
    return [words[key].format(**said) for key in (*told, "tier")]


def table(planned: Plan, lang: str) -> list[str]:
    """How long the prompt takes in each codec over usual lines, and over the one planned with."""
    words, wish = _WORDS[lang], planned.wish
    rows = [[words["line"], *wire.CODECS]]
    for name, line in LINES.items():
        sizes = [codec.weighs(wish.prompt_s) for codec in wire.CODECS.values()]
        times = [_seconds(wire.transfer_s(size, line.up_mbit), words) for size in sizes]
        rows.append([f"{words[name]}, {line.up_mbit:g}", *times])
    widths = [max(_width(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [words["table"].format(prompt_s=wish.prompt_s)] + [
        "  ".join(map(_padded, row, widths)).rstrip() for row in rows
    ]


def document(planned: Plan) -> dict[str, Any]:
    """The plan for programs; null where a queue grows without end."""
    numbers = {
        name: None if isinstance(value, float) and math.isinf(value) else value
        for name, value in asdict(planned).items()
    }
    return {
        **numbers,
        "stable": planned.stable,
        "upload_s_by_line": {
            name: {
                codec: wire.transfer_s(way.weighs(planned.wish.prompt_s), line.up_mbit)
                for codec, way in wire.CODECS.items()
            }
            for name, line in LINES.items()
        },
        "said": {lang: sentences(planned, lang) for lang in LANGUAGES},
    }


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments; their defaults are `Wish`'s."""
    for field in fields(Wish):
        name, default = field.name, field.default
        option = _SHORT.get(name, "--" + name.replace("_", "-"))
        if name == "codec":
            about = "how the prompt is sent (default: %(default)s)"
            parser.add_argument(option, choices=tuple(wire.CODECS), default=default, help=about)
            continue
        about, low, high = _BOUNDS[name]
        parser.add_argument(
            option,
            dest=name,
            type=_number(low, high, name in _WHOLE),
            default=default,
            metavar="N",
            help=f"{about} (default: %(default)s)",
        )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of sentences")
    parser.add_argument(
        "--lang", choices=(*LANGUAGES, "both"), default="both", help="default: %(default)s"
    )


def _number(low: float, high: float, whole: bool) -> Callable[[str], float]:
    """A number from `low` to `high`, or a usage error that says so in both languages."""

    def read(text: str) -> float:
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            en, zh = ("a whole number", "整数") if whole else ("a number", "数")
            raise argparse.ArgumentTypeError(
                f"plan_value_invalid: {text!r}: give {en} from {low:g} to {high:g}. "
                f"请给出 {low:g} 到 {high:g} 之间的{zh}。"
            )
        return value

    return read


def run(options: argparse.Namespace) -> int:
    """Plan and tell; returns 0."""
    planned = plan(Wish(**{field.name: getattr(options, field.name) for field in fields(Wish)}))
    if options.json:
        print(json.dumps(document(planned), ensure_ascii=False))
        return 0
    languages = LANGUAGES if options.lang == "both" else (options.lang,)
    print("\n\n".join("\n".join([*sentences(planned, lang), "", *table(planned, lang)])
                      for lang in languages))  # fmt: skip
    return 0


def _size(data_bytes: int) -> str:
    """Bytes as people read them, SI: 480 kB, 2.9 MB, 0.7 GB."""
    if data_bytes < 1_000_000:
        return f"{data_bytes / 1e3:.0f} kB"
    return f"{data_bytes / 1e6:.1f} MB" if data_bytes < 1e9 else f"{data_bytes / 1e9:.1f} GB"


def _seconds(seconds: float, words: dict[str, str]) -> str:
    if seconds == 0:
        return words["seconds"].format(0)
    if seconds < 0.1:
        return words["quick"]
    return words["seconds"].format(f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}")


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    """Columns of a terminal: a Chinese character takes two."""
    return sum(2 if ord(character) > 0x2E7F else 1 for character in text)
