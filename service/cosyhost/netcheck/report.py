"""The check told: sentences in both languages, JSON, and the exit status."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from cosyhost.errors import Problem
from cosyhost.netcheck.measure import Checked, check

WELL, THIN, NOT_ASKED = 0, 1, 2

_WORDS = {
    "en": {
        "line": "Latency {latency} ms, jitter {jitter} ms; download {down} Mbit/s, "
        "upload {up} Mbit/s.",
        "prompt": "A {seconds:g} s prompt takes {wav48} to upload as it is (WAV, {wav48_mb} MB), "
        "{flac} compacted without loss (FLAC, {flac_mb} MB), {opus} in the mode for slow lines "
        "(Opus, {opus_mb} MB).",
        "none": "Tier {tier} asks for no measured rate.",
        "holds": "Tier {tier} asks for {min_up:g} Mbit/s up and {min_down:g} Mbit/s down at its "
        "host: that holds, seen from here.",
        "thin": "Tier {tier} asks for {min_up:g} Mbit/s up and {min_down:g} Mbit/s down at its "
        "host; from here it gave {down} and {up}. Its line or yours is too thin: check again from "
        "a place with a quicker line.",
        "seconds": "{} s",
        "quick": "under 0.1 s",
    },
    "zh": {
        "line": "延迟 {latency} 毫秒，抖动 {jitter} 毫秒；下载 {down} Mbit/s，上传 {up} Mbit/s。",
        "prompt": "{seconds:g} 秒的提示音频，原样上传（WAV，{wav48_mb} MB）需 {wav48}，"
        "无损压缩后（FLAC，{flac_mb} MB）需 {flac}，弱网模式（Opus，{opus_mb} MB）需 {opus}。",
        "none": "{tier} 级别不要求实测速率。",
        "holds": "{tier} 级别要求主机上行 {min_up:g} Mbit/s、下行 {min_down:g} Mbit/s："
        "从这里看，已满足。",
        "thin": "{tier} 级别要求主机上行 {min_up:g} Mbit/s、下行 {min_down:g} Mbit/s；"
        "从这里测得 {down} 与 {up}。主机或您这边的线路太窄，请换一处更快的线路再检查。",
        "seconds": "{} 秒",
        "quick": "不到 0.1 秒",
    },
}
LANGUAGES = tuple(_WORDS)


def sentences(checked: Checked, lang: str) -> list[str]:
    """What a person needs to know: the line, what it means for a prompt, the requirement."""
    words, terms = _WORDS[lang], checked.terms
    figures: dict[str, Any] = {
        "latency": milliseconds(checked.latency_s),
        "jitter": milliseconds(checked.jitter_s),
        "down": rate(checked.download.mbit_s),
        "up": rate(checked.upload.mbit_s),
        "seconds": terms.prompt_s,
        "tier": terms.tier,
        "min_up": terms.min_up_mbit,
        "min_down": terms.min_down_mbit,
    }
    for way, size in terms.prompt_bytes.items():
        figures[way] = duration(checked.prompt_upload_s(way), lang)
        figures[f"{way}_mb"] = f"{size / 1e6:.1f}"
    judged = {None: "none", True: "holds", False: "thin"}[checked.holds]
    return [words[key].format(**figures) for key in ("line", "prompt", judged)]


def rate(mbit_s: float) -> str:
    """A rate as people read it: 0.38, 4.7, 940."""
    return f"{mbit_s:.2f}" if mbit_s < 1 else f"{mbit_s:.1f}" if mbit_s < 100 else f"{mbit_s:.0f}"


def duration(seconds: float, lang: str) -> str:
    """Seconds as people read them: 0.7 s, 38 s."""
    words = _WORDS[lang]
    if seconds < 0.1:
        return words["quick"]
    return words["seconds"].format(f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}")


def milliseconds(seconds: float) -> str:
    """Milliseconds as people read them: 0.6, 41."""
    ms = seconds * 1000
    return f"{ms:.1f}" if ms < 10 else f"{ms:.0f}"


def document(checked: Checked) -> dict[str, Any]:
    """The check for programs."""
    terms = checked.terms
    return {
        "url": checked.url,
        "tier": terms.tier,
        "version": terms.version,
        "latency_ms": round(checked.latency_s * 1000, 2),
        "jitter_ms": round(checked.jitter_s * 1000, 2),
        "download_mbit_s": round(checked.download.mbit_s, 3),
        "upload_mbit_s": round(checked.upload.mbit_s, 3),
        "counted": {
            name: {"bytes": one.bytes, "seconds": round(one.seconds, 4)}
            for name, one in (("download", checked.download), ("upload", checked.upload))
        },
        "prompt_s": terms.prompt_s,
        "prompt_upload_s": {
            way: round(checked.prompt_upload_s(way), 3) for way in terms.prompt_bytes
        },
        "asked": {"min_up_mbit": terms.min_up_mbit, "min_down_mbit": terms.min_down_mbit},
        "holds": checked.holds,
        "said": {lang: sentences(checked, lang) for lang in LANGUAGES},
        "problem": None,
    }


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("url", metavar="URL", help="as the browser opens it: http://host")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of sentences")
    parser.add_argument(
        "--lang", choices=(*LANGUAGES, "both"), default="both", help="default: %(default)s"
    )
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="certificates to trust in place of the system's"
    )
    parser.epilog = (
        "Exit status: 0 well; 1 the line is thinner than the tier asks for; 2 it could not be "
        "asked (the code says why). Proxies of the environment are not used."
    )


def run(options: argparse.Namespace) -> int:
    """Check and tell; returns the exit status."""
    languages = LANGUAGES if options.lang == "both" else (options.lang,)
    live = sys.stderr.isatty()

    def progress(en: str, zh: str) -> None:
        if live:
            told = zh if languages == ("zh",) else en
            print(f"\r\x1b[Kcosyhost netcheck: {told} …", end="", file=sys.stderr, flush=True)

    try:
        checked = check(options.url, options.ca, progress)
    except Problem as problem:
        if live:
            print("\r\x1b[K", end="", file=sys.stderr)
        if options.json:
            told = {lang: [problem.sentence(lang)] for lang in LANGUAGES}
            refusal = {"url": options.url, "said": told, "problem": problem.document()}
            print(json.dumps(refusal, ensure_ascii=False))
        else:
            said = " ".join(problem.sentence(lang) for lang in languages)
            print(f"cosyhost: {problem.kind.code}: {said}", file=sys.stderr)
        return NOT_ASKED
    if live:
        print("\r\x1b[K", end="", file=sys.stderr)
    if options.json:
        print(json.dumps(document(checked), ensure_ascii=False))
    else:
        print("\n".join(line for lang in languages for line in sentences(checked, lang)))
    return THIN if checked.holds is False else WELL
