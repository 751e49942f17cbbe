"""The plan in words, English or Chinese."""

from __future__ import annotations

from typing import Any

from cosyhost.plan.model import Finding, Plan
from cosyhost.plan.sizes import bytes_per_s

CODECS = {
    "wav16": "WAV 16 kHz",
    "wav48": "WAV 48 kHz stereo",
    "flac": "FLAC",
    "opus": "Opus",
    "wav": "WAV",
}
_TIMES = {
    "en": ("ms", "s", "min", "h", "d"),
    "zh": ("毫秒", "秒", "分钟", "小时", "天"),
}


def size(size_bytes: float) -> str:
    """Decimal units: 480000 is `480 kB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor * 0.9995:
            return f"{_short(size_bytes / factor)} {unit}"
    return f"{size_bytes:.0f} B"


def rate(mbit: float) -> str:
    """A line both ways it is written: `10 Mbit/s (1.25 MB/s)`."""
    return f"{_short(mbit)} Mbit/s ({size(bytes_per_s(mbit))}/s)"


def seconds(value: float, language: str) -> str:
    """A time in the unit that fits: `384 ms`, `2.3 s`, `4.5 min`."""
    if value == 0:
        return f"0 {_TIMES[language][1]}"
    for unit, factor, limit in zip(
        _TIMES[language],
        (0.001, 1.0, 60.0, 3600.0, 86400.0),
        (0.9995, 59.95, 3570.0, 85_680.0, float("inf")),
        strict=True,
    ):
        if value < limit:
            shown = value / factor
            if factor < 1:
                return f"{shown:.0f} {unit}" if shown >= 1 else f"<1 {unit}"
            # What lies a hair below the next unit was rounded into it.
            return f"{_short(max(shown, 1.0))} {unit}"
    raise AssertionError(value)


def _short(value: float) -> str:
    """Three figures, whole numbers in full, no exponent."""
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{float(f'{value:.3g}'):.10g}"


def share(value: float) -> str:
    """A share as a percentage: `3.2 %`, never a rounded 0 or 100."""
    if 0 < value < 0.0005:
        return "<0.1 %"
    if 0.9995 < value < 1:
        return ">99.9 %"
    return f"{_short(value * 100)} %"


# What each finding says; a figure's name tells how it is written (see `_figures`).
FINDINGS: dict[str, dict[str, str]] = {
    "reach_machine": {
        "en": "one person on the machine itself or on its switch.",
        "zh": "一个人，在本机或同一交换机上使用。",
    },
    "reach_lan": {
        "en": "every line is at least as fast as a gigabit switch, or you said so (--reach).",
        "zh": "所有线路都达到千兆交换机的速度，或由 --reach 指定。",
    },
    "reach_internet": {
        "en": "users come over lines slower than a gigabit switch; one cloud host does for them.",
        "zh": "用户的线路慢于千兆交换机，按公网计；一台云主机足够。",
    },
    "outgrown_gpus": {
        "en": "{gpus} GPUs are needed, and one host holds about {limit}.",
        "zh": "需要 {gpus} 块 GPU，而一台主机通常最多 {limit} 块。",
    },
    "outgrown_queue": {
        "en": "on one host of tier {tier} {refused} of the jobs would find its queue of {waiting} "
        "full.",
        "zh": "在单机 {tier} 档上，{refused}的任务会遇到排队已满（{waiting} 个）。",
    },
    "outgrown_disk": {
        "en": "outputs kept need {kept_bytes}, tier {tier} keeps {quota_bytes}; production has a "
        "volume of its own or S3.",
        "zh": "保留的语音需要 {kept_bytes}，{tier} 档只留 {quota_bytes}；"
        "production 档用独立卷或 S3。",
    },
    "overload": {
        "en": "the load is {load} jobs at once, the GPUs run {places}: the queue grows without "
        "end. With {gpus} GPUs 95 % of jobs would wait 20 s at most.",
        "zh": "负载相当于同时 {load} 个任务，而 GPU 只能同时跑 {places} 个：队列会无限增长。"
        "用 {gpus} 块 GPU 时，95% 的任务等待不超过 20 秒。",
    },
    "wait_long": {
        "en": "one job in twenty waits longer than {wait_s} ({limit_s} is the alert's limit). "
        "{gpus} GPUs would do.",
        "zh": "每二十个任务有一个要等 {wait_s}以上（告警线为 {limit_s}）。用 {gpus} 块 GPU 即可。",
    },
    "upload_slow": {
        "en": "the prompt takes {upload_s} to upload ({limit_s} is the alert's limit): use "
        "--codec opus, a shorter prompt, or another line.",
        "zh": "提示音频要上传 {upload_s}（告警线为 {limit_s}）：请用 --codec opus、"
        "更短的提示音频，或换线路。",
    },
    "slower_than_speech": {
        "en": "at RTF {rtf} speech is made slower than it is spoken: playback will stop and wait. "
        "Fewer jobs per GPU, or a faster one.",
        "zh": "RTF 为 {rtf}，生成比播放慢，边生成边播会卡顿。"
        "请减少每块 GPU 的任务数或换更快的 GPU。",
    },
    "link_down_thin": {
        "en": "tier {tier} asks for {asked_mbit} into the server, the link has {mbit}.",
        "zh": "{tier} 档要求服务器下行 {asked_mbit}，现有 {mbit}。",
    },
    "link_up_thin": {
        "en": "tier {tier} asks for {asked_mbit} out of the server, the link has {mbit}.",
        "zh": "{tier} 档要求服务器上行 {asked_mbit}，现有 {mbit}。",
    },
    "link_down_full": {
        "en": "prompts alone take {mean_mbit} of the server's {mbit} down: full in a busy hour.",
        "zh": "仅提示音频就占 {mean_mbit}，服务器下行为 {mbit}：忙时会占满。",
    },
    "link_up_full": {
        "en": "outputs alone take {mean_mbit} of the server's {mbit} up: full in a busy hour. "
        "--output flac or opus is smaller.",
        "zh": "仅语音输出就占 {mean_mbit}，服务器上行为 {mbit}：忙时会占满。"
        "--output flac 或 opus 更小。",
    },
    "quota": {
        "en": "outputs kept need {kept_bytes}, the tier's quota is {quota_bytes}: the oldest "
        "would leave after {days}.",
        "zh": "保留的语音需要 {kept_bytes}，该档配额为 {quota_bytes}："
        "最旧的约 {days}后就会被清理。",
    },
    "rtf_assumed": {
        "en": "RTF {rtf} is assumed, not measured on your GPU: upstream's {alone} for one job "
        "(L20, TensorRT-LLM) times the jobs per GPU. Give your own with --rtf.",
        "zh": "RTF {rtf} 是假定值，并非在您的 GPU 上测得：上游单任务 {alone}（L20，TensorRT-LLM）"
        "乘以每块 GPU 的任务数。请用 --rtf 填实测值。",
    },
    "compact": {
        "en": "the prompt takes {wav_s} as WAV; the studio sends it as FLAC in {flac_s} or as "
        "Opus in {opus_s}.",
        "zh": "提示音频以 WAV 上传要 {wav_s}；网页会压成 FLAC（{flac_s}）或 Opus（{opus_s}）。",
    },
    "fewer_gpus": {
        "en": "for the waits fewer GPUs would do ({gpus}); the rest is reserve.",
        "zh": "就等待时间而言 {gpus} 块 GPU 已足够，其余为冗余。",
    },
    "burst_refused": {
        "en": "if all press the button at once, {refused} are told to try again later (429).",
        "zh": "若所有人同时提交，其中 {refused} 个会被请稍后重试（429）。",
    },
}


def say(finding: Finding, language: str) -> str:
    """One finding as a sentence."""
    return FINDINGS[finding.code][language].format(**_figures(finding, language))


def _figures(finding: Finding, language: str) -> dict[str, str]:
    written: dict[str, str] = {}
    for name, figure in finding.figures.items():
        if name == "refused" and isinstance(figure, float):
            written[name] = share(figure)
        elif isinstance(figure, str | int):
            written[name] = str(figure)
        elif name.endswith("_s"):
            written[name] = seconds(figure, language)
        elif name.endswith("_bytes"):
            written[name] = size(figure)
        elif name.endswith("mbit"):
            written[name] = rate(figure)
        elif name == "days":
            written[name] = seconds(figure * 86400, language)
        else:
            written[name] = _short(figure)
    return written


# The plan's lines; the figures are those of `_lines`.
_TEXT = {
    "en": """\
Users: {users}, each starts {jobs} jobs per hour: prompt {prompt_s} as {codec}, speech {audio_s} \
as {output}

One user, {up} up and {down} down
  prompt up: {prompt_bytes}, {upload_s} ({codecs})
  speech down: {output_bytes}, {download_s}
  first page load: {page_bytes}, {page_s} (a Gradio page nobody optimised: {old_bytes}, {old_s})
  from click to the whole output: {job_s}

All users at once, server's link {link_down} down and {link_up} up
  prompts into the server: {in_bytes}, {in_s}
  speech out of the server: {out_bytes}, {out_s}
  both together: {total_bytes}; all load the page: {all_page_s}
  mean in a busy hour: {mean_down} in, {mean_up} out

GPUs: {gpus}, {per_gpu} jobs at once each, RTF {rtf}
  capacity: {places} jobs at once, {jobs_hour} jobs of {service_s} per hour
  load: {load} jobs at once, {utilisation} of the capacity
  waiting (M/M/c): {waiting}
  all users at once: the last one taken begins after {last_s}
  for 95 % of waits within 20 s: at most {most} such users here; for these, GPUs: {enough}

Disk: {day_jobs} jobs in {hours} h are {day_bytes} a day; kept {keep}: {kept_bytes} \
(quota {quota_bytes})

Tier: {tier}
""",
    "zh": """\
{users} 人，每人每小时 {jobs} 个任务；提示音频 {prompt_s}（{codec}），语音 {audio_s}（{output}）

单个用户，上行 {up}，下行 {down}
  上传提示音频：{prompt_bytes}，{upload_s}（{codecs}）
  下载语音：{output_bytes}，{download_s}
  首次打开页面：{page_bytes}，{page_s}（未优化的 Gradio 页面：{old_bytes}，{old_s}）
  从点击到拿到完整语音：{job_s}

{users} 人同时，服务器下行 {link_down}，上行 {link_up}
  提示音频进入服务器：{in_bytes}，{in_s}
  语音离开服务器：{out_bytes}，{out_s}
  两者合计：{total_bytes}；全员打开页面：{all_page_s}
  忙时平均：进 {mean_down}，出 {mean_up}

GPU：{gpus} 块，每块同时 {per_gpu} 个任务，RTF {rtf}
  容量：同时 {places} 个任务，每小时 {jobs_hour} 个（每个 {service_s}）
  负载：相当于同时 {load} 个任务，占容量的 {utilisation}
  排队（M/M/c）：{waiting}
  {users} 人同时提交：最后一个被接受的任务在 {last_s}后开始
  使 95% 的等待不超过 20 秒：现有 GPU 最多容纳 {most} 个这样的用户；现有用户至少需要 {enough} 块

磁盘：每天 {hours} 小时共 {day_jobs} 个任务，{day_bytes}；保留 {keep}：{kept_bytes}\
（配额 {quota_bytes}）

推荐档位：{tier}
""",
}
_WAITING = {
    "en": "{probability} of jobs wait; mean {mean}, 95 % within {p95}; {refused} find the queue "
    "full",
    "zh": "{probability}的任务需要等待；平均 {mean}，95% 在 {p95}以内；{refused}遇到排队已满",
}
_ENDLESS = {"en": "without end", "zh": "无限增长"}
_HEADS = {
    "en": ("why", "does not hold", "note"),
    "zh": ("原因", "不成立", "说明"),
}


def text(plan: Plan, language: str) -> str:
    """The whole plan as it is printed."""
    lines = [_TEXT[language].format(**_lines(plan, language)).rstrip("\n")]
    for head, findings in zip(
        _HEADS[language], (plan.reasons, plan.problems, plan.notes), strict=True
    ):
        colon = "：" if language == "zh" else ": "
        lines += [f"  {head}{colon}{say(finding, language)}" for finding in findings]
    return "\n".join(lines)


def _lines(plan: Plan, language: str) -> dict[str, Any]:
    needs, user, together = plan.needs, plan.user, plan.together
    capacity, queue, disk = plan.capacity, plan.queue, plan.disk
    codecs = ", ".join(
        f"{CODECS[codec]} {seconds(value, language)}"
        for codec, value in user.upload_by_codec_s.items()
        if codec != needs.codec
    )
    old_bytes = [size(value) for value in user.page_unoptimised_bytes]
    old_s = [seconds(value, language) for value in user.page_unoptimised_s]
    to = {"en": "{} to {}", "zh": "{} 至 {}"}[language]
    return {
        "users": needs.users,
        "jobs": _short(needs.jobs_per_user_hour),
        "prompt_s": seconds(needs.prompt_s, language),
        "codec": CODECS[needs.codec],
        "audio_s": seconds(needs.audio_s, language),
        "output": CODECS[needs.output],
        "up": rate(needs.up_mbit),
        "down": rate(needs.down_mbit),
        "prompt_bytes": size(user.prompt_bytes),
        "upload_s": seconds(user.upload_s, language),
        "codecs": codecs,
        "output_bytes": size(user.output_bytes),
        "download_s": seconds(user.download_s, language),
        "page_bytes": size(user.page_bytes),
        "page_s": seconds(user.page_s, language),
        "old_bytes": to.format(*old_bytes),
        "old_s": to.format(*old_s),
        "job_s": _or_endless(user.job_s, language),
        "link_down": rate(needs.link_down_mbit),
        "link_up": rate(needs.link_up_mbit),
        "in_bytes": size(together.upload_bytes),
        "in_s": seconds(together.upload_s, language),
        "out_bytes": size(together.download_bytes),
        "out_s": seconds(together.download_s, language),
        "total_bytes": size(together.total_bytes),
        "all_page_s": seconds(together.page_s, language),
        "mean_down": rate(together.mean_link_down_mbit),
        "mean_up": rate(together.mean_link_up_mbit),
        "gpus": needs.gpus,
        "per_gpu": needs.jobs_per_gpu,
        "rtf": _short(capacity.rtf),
        "places": capacity.jobs_at_once,
        "jobs_hour": _short(capacity.jobs_per_hour),
        "service_s": seconds(capacity.service_s, language),
        "load": _short(queue.load_erlangs),
        "utilisation": share(queue.utilisation),
        "waiting": _WAITING[language].format(
            probability=share(queue.wait_probability),
            mean=seconds(queue.wait_mean_s, language),
            p95=seconds(queue.wait_p95_s or 0, language),
            refused=share(queue.refused_share or 0),
        )
        if queue.wait_mean_s is not None
        else _ENDLESS[language],
        "last_s": seconds(queue.all_at_once_last_wait_s, language),
        "enough": queue.gpus_enough,
        "most": capacity.users_at_most,
        "day_jobs": _short(disk.jobs_per_day),
        "hours": _short(needs.hours_per_day),
        "day_bytes": size(disk.day_bytes),
        "keep": seconds(disk.keep_days * 86400, language),
        "kept_bytes": size(disk.kept_bytes),
        "quota_bytes": size(disk.quota_bytes),
        "tier": plan.tier,
    }


def _or_endless(value: float | None, language: str) -> str:
    return _ENDLESS[language] if value is None else seconds(value, language)
