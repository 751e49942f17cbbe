"""`cosyhost plan`: the arithmetic of the project's source, the queue's formula, and plain words."""

from __future__ import annotations

import dataclasses
import heapq
import io
import json
import math
import random
import re
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import pytest
import yaml

from cosyhost import cli
from cosyhost.audio.encode import encode
from cosyhost.labels import Label
from cosyhost.plan import command, words
from cosyhost.plan.model import TIERS, WAIT_LIMIT_S, Needs, make
from cosyhost.plan.queue import erlang_b, erlang_c, servers_for, waiting
from cosyhost.plan.sizes import (
    OUTPUT_BYTES_PER_S,
    PAGE_BYTES,
    PAGE_UNOPTIMISED_BYTES,
    bytes_per_s,
    mbit_per_s,
    transfer_s,
)

ROOT = Path(__file__).parents[3]
# Ten people as the source has them: 15 s of 16 kHz WAV up, 0.5 to 1 MB of WAV down.
LOW_S, HIGH_S = 500_000 / 48_000, 1_000_000 / 48_000
TEN = Needs(users=10, prompt_s=15, codec="wav16", output="wav", audio_s=LOW_S)


# The source's numbers.


def test_a_prompt_of_15_s_at_16_khz_is_480_kb() -> None:
    assert make(TEN).user.prompt_bytes == 480_000
    assert words.size(480_000) == "480 kB"


def test_an_output_is_half_a_megabyte_to_one() -> None:
    """That is 10.4 to 20.8 s of speech at 24 kHz; the default job lies between."""
    assert pytest.approx(10.4, abs=0.05) == LOW_S
    assert pytest.approx(20.8, abs=0.05) == HIGH_S
    assert 500_000 <= make(Needs()).user.output_bytes == 15 * 24_000 * 2 <= 1_000_000


def test_a_page_nobody_optimised_is_5_to_10_mb_and_ours_is_not() -> None:
    user = make(Needs(down_mbit=100)).user
    assert user.page_unoptimised_bytes == (5e6, 10e6) == PAGE_UNOPTIMISED_BYTES
    assert user.page_unoptimised_s == pytest.approx((0.4, 0.8))
    assert user.page_bytes == PAGE_BYTES < 5e6 / 10


def test_the_page_is_as_heavy_as_the_readme_measured_it() -> None:
    (kilobytes,) = re.findall(r"\| (\d+) kB in \d+ requests", (ROOT / "README.md").read_text())
    assert int(kilobytes) * 1000 == PAGE_BYTES


def test_ten_users_move_less_than_10_mb() -> None:
    """Both ways together with outputs of 0.5 MB; with 1 MB it holds for each way by itself."""
    small, large = make(TEN).together, make(dataclasses.replace(TEN, audio_s=HIGH_S)).together
    assert small.upload_bytes == 4_800_000
    assert small.total_bytes == pytest.approx(9_800_000)
    assert small.total_bytes < 10e6 < large.total_bytes
    assert large.upload_bytes <= 10e6
    assert large.download_bytes == pytest.approx(10e6)


@pytest.mark.parametrize(
    ("link", "ten_mb_s", "prompts_s", "speech_s"),
    [(1000, 0.08, 0.0384, 0.04), (100, 0.8, 0.384, 0.4)],
)
def test_they_take_a_tenth_of_a_second_on_gigabit_and_one_on_100_mbit(
    link: float, ten_mb_s: float, prompts_s: float, speech_s: float
) -> None:
    needs = dataclasses.replace(
        TEN, up_mbit=link, down_mbit=link, link_up_mbit=link, link_down_mbit=link
    )
    assert transfer_s(10e6, link) == pytest.approx(ten_mb_s)
    assert round(ten_mb_s, 0 if link == 100 else 1) == 100 / link
    together = make(needs).together
    assert together.upload_s == pytest.approx(prompts_s)
    assert together.download_s == pytest.approx(speech_s)


def test_a_home_line_of_100m_uploads_at_a_tenth_of_that() -> None:
    """The source: 5 to 10 Mbit/s, about 600 kB/s to 1.2 MB/s; the prompt in under half a second."""
    assert Needs().down_mbit == 100
    assert Needs().up_mbit <= 10
    assert bytes_per_s(5) == 625_000
    assert bytes_per_s(10) == 1_250_000
    assert make(dataclasses.replace(TEN, up_mbit=10)).user.upload_s == pytest.approx(0.384)


def test_a_hotspot_under_1_mbit_takes_seconds_and_opus_one() -> None:
    user = make(dataclasses.replace(TEN, up_mbit=0.9)).user
    assert user.upload_s == pytest.approx(4.27, abs=0.01)
    assert user.upload_by_codec_s["opus"] == pytest.approx(1.09, abs=0.01)


def test_gigabit_is_125_megabytes_per_second() -> None:
    assert bytes_per_s(1000) == 125e6


def test_megabytes_per_second_are_not_mbit() -> None:
    """The source's script divides bytes per second by a million and prints "Mbps"."""
    assert mbit_per_s(20.04e6) == pytest.approx(160.3, abs=0.05)
    assert words.rate(160.32) == "160 Mbit/s (20 MB/s)"


# The queue.


@pytest.mark.parametrize("load", [0.05, 0.5, 0.9, 0.99])
def test_one_server_is_m_m_1(load: float) -> None:
    """M/M/1: a job waits with probability rho, rho / (mu - lambda) on average."""
    service_s = 3.0
    waits = waiting(1, load, service_s)
    assert waits is not None
    assert waits.probability == pytest.approx(load)
    assert waits.mean_s == pytest.approx(load / (1 / service_s - load / service_s))
    assert waits.longer_than(7) == pytest.approx(load * math.exp(-(1 - load) * 7 / service_s))
    assert waits.finds_waiting(4) == pytest.approx(load**5)


@pytest.mark.parametrize("servers", [1, 2, 7, 40])
def test_the_recursion_is_the_formula(servers: int) -> None:
    load = servers * 0.7
    last = load**servers / math.factorial(servers)
    before = sum(load**k / math.factorial(k) for k in range(servers))
    assert erlang_b(servers, load) == pytest.approx(last / (before + last))
    assert erlang_c(servers, load) == pytest.approx(last / ((1 - load / servers) * before + last))


def test_erlang_c_as_published() -> None:
    """360 calls in half an hour, 240 s each, 55 agents: 23.87 % wait, 8.2 s on average, and 84.6 %
    at most 15 s (mitan.co.uk/erlang/elgcmath.htm, web archive of 2018)."""
    waits = waiting(55, 360 / 1800 * 240, 240)
    assert waits is not None
    assert waits.probability == pytest.approx(0.2387, abs=5e-5)
    assert waits.mean_s == pytest.approx(8.184, abs=5e-4)
    assert 1 - waits.longer_than(15) == pytest.approx(0.8459, abs=5e-5)


def test_the_mean_wait_as_published() -> None:
    """Three tellers at rho 0.8 wait 1.079 service times (Trueman, An Introduction to Quantitative
    Methods for Decision Making, 1977, table 12.2, as in HP's 12c Solutions Handbook)."""
    waits = waiting(3, 2.4, 1)
    assert waits is not None
    assert waits.mean_s == pytest.approx(1.079, abs=5e-4)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.6), (2, 1.2), (6, 4.2)])
def test_a_simulated_queue_waits_as_the_formula_says(servers: int, load: float) -> None:
    chance = random.Random(20260102)
    # Waits hang together: at these loads the mean of so many is good to 1 to 3 %.
    jobs, now, waits = 300_000, 0.0, []
    free = [0.0] * servers
    for _ in range(jobs):
        now += chance.expovariate(load)
        begins = max(now, heapq.heappop(free))
        heapq.heappush(free, begins + chance.expovariate(1))
        waits.append(begins - now)
    expected = waiting(servers, load, 1)
    assert expected is not None
    assert sum(wait > 0 for wait in waits) / jobs == pytest.approx(expected.probability, rel=0.03)
    assert sum(waits) / jobs == pytest.approx(expected.mean_s, rel=0.06)
    assert sorted(waits)[int(jobs * 0.95)] == pytest.approx(expected.quantile_s(0.95), rel=0.06)


def test_a_quantile_turns_back_into_its_share() -> None:
    waits = waiting(3, 2.9, 4)
    assert waits is not None
    assert waits.longer_than(waits.quantile_s(0.95)) == pytest.approx(0.05)
    assert waits.quantile_s(0.01) == 0


def test_at_capacity_the_queue_has_no_end() -> None:
    assert waiting(2, 2, 1) is None
    assert waiting(2, 2.5, 1) is None
    assert erlang_c(2, 2) == 1


@pytest.mark.parametrize("load", [0.01, 1.99, 7.3, 120.0])
def test_the_fewest_servers_are_enough_and_one_step_less_is_not(load: float) -> None:
    enough = servers_for(load, 30, 2, 0.95, 20)
    assert enough % 2 == 0
    waits, less = waiting(enough, load, 30), waiting(enough - 2, load, 30)
    assert waits is not None
    assert waits.quantile_s(0.95) <= 20
    assert enough == 2 or less is None or less.quantile_s(0.95) > 20


# The plan.


def test_more_users_wait_longer_and_more_gpus_shorter() -> None:
    crowd = [make(Needs(users=users)) for users in (1, 10, 50, 100, 170, 180)]
    means = [plan.queue.wait_mean_s or 0 for plan in crowd]
    assert means == sorted(set(means))
    enough = [make(Needs(users=users)).queue.gpus_enough for users in (10, 200, 1000, 5000)]
    assert enough == sorted(set(enough))
    more = [make(Needs(users=170, gpus=gpus)).queue.wait_mean_s or 0 for gpus in (1, 2, 3)]
    assert more == sorted(set(more), reverse=True)


def test_a_faster_line_is_quicker_and_a_shared_one_never_quicker_than_ones_own() -> None:
    times = [make(Needs(up_mbit=mbit)).user.upload_s for mbit in (0.5, 1, 10, 100)]
    assert times == sorted(set(times), reverse=True)
    for users in (1, 10, 1000):
        plan = make(Needs(users=users))
        assert plan.together.upload_s >= plan.user.upload_s
        assert plan.together.download_s >= plan.user.download_s


def test_prompts_use_the_servers_download_side() -> None:
    thin = make(Needs(users=100, link_down_mbit=1, link_up_mbit=1000)).together
    assert thin.upload_s == pytest.approx(100 * 414_792 / 125_000)
    assert thin.download_s < 1


def test_the_disk_is_what_all_jobs_leave() -> None:
    disk = make(Needs(users=3, jobs_per_user_hour=4, hours_per_day=5, keep_days=2)).disk
    assert disk.jobs_per_day == 60
    assert disk.day_bytes == 60 * 720_000
    assert disk.kept_bytes == 2 * disk.day_bytes


def test_when_all_press_at_once_the_queue_takes_what_the_tier_lets_wait() -> None:
    """A demo with two places and 16 to wait in: of 21 three go away, the 18th is in round nine."""
    queue = make(Needs(users=21, rtf=0.2)).queue
    assert queue.all_at_once_refused == 3
    assert queue.all_at_once_last_wait_s == pytest.approx(8 * 15 * 0.2)
    assert make(Needs(users=2)).queue.all_at_once_last_wait_s == 0


@pytest.mark.parametrize("needs", [Needs(), Needs(gpus=3, rtf=0.7), Needs(audio_s=600)])
def test_the_most_users_still_fit_and_one_more_does_not(needs: Needs) -> None:
    most = make(needs).capacity.users_at_most
    if most:
        fits = make(dataclasses.replace(needs, users=most)).queue
        assert fits.wait_p95_s is not None
        assert fits.wait_p95_s <= WAIT_LIMIT_S
        assert fits.gpus_enough <= needs.gpus
    assert make(dataclasses.replace(needs, users=most + 1)).queue.gpus_enough > needs.gpus


def test_overload_says_how_many_gpus_would_do() -> None:
    over = make(Needs(users=400))
    assert not over.queue.holds
    assert over.queue.wait_mean_s is over.queue.wait_p95_s is over.user.job_s is None
    (finding,) = [problem for problem in over.problems if problem.code == "overload"]
    assert f"With {over.queue.gpus_enough} GPUs" in words.say(finding, "en")
    cured = make(Needs(users=400, gpus=over.queue.gpus_enough))
    assert cured.queue.wait_p95_s is not None
    assert cured.queue.wait_p95_s <= WAIT_LIMIT_S
    assert not make(Needs(users=400, gpus=over.queue.gpus_enough - 1)).queue.holds


GIGABIT: dict[str, Any] = {
    "up_mbit": 1000,
    "down_mbit": 1000,
    "link_up_mbit": 1000,
    "link_down_mbit": 1000,
}


@pytest.mark.parametrize(
    ("needs", "tier", "why"),
    [
        (Needs(users=1, **GIGABIT), "local", "reach_machine"),
        (Needs(**GIGABIT), "lan", "reach_lan"),
        (Needs(reach="lan", up_mbit=100), "lan", "reach_lan"),
        (Needs(), "demo", "reach_internet"),
        (Needs(users=1), "demo", "reach_internet"),
        (Needs(users=2000, output="opus", keep_days=0.1), "production", "outgrown_gpus"),
        (Needs(users=1790, audio_s=1.5, reach="lan"), "production", "outgrown_queue"),
        (Needs(users=100), "production", "outgrown_disk"),
    ],
)
def test_the_tier_and_its_reason(needs: Needs, tier: str, why: str) -> None:
    plan = make(needs)
    assert plan.tier == tier
    assert why in [reason.code for reason in plan.reasons]


@pytest.mark.parametrize(
    ("needs", "code"),
    [
        (Needs(users=400), "overload"),
        (Needs(users=5, rtf=0.9, audio_s=60), "wait_long"),
        (Needs(up_mbit=0.1), "upload_slow"),
        (Needs(users=1, rtf=1.0), "slower_than_speech"),
        (Needs(link_down_mbit=49), "link_down_thin"),
        (Needs(link_up_mbit=49), "link_up_thin"),
        (Needs(users=1000, link_down_mbit=10), "link_down_full"),
        (Needs(users=1000, link_up_mbit=10), "link_up_full"),
        (Needs(users=1000, keep_days=30), "quota"),
    ],
)
def test_what_does_not_hold_is_said_and_else_not(needs: Needs, code: str) -> None:
    assert code in [problem.code for problem in make(needs).problems]
    assert not make(Needs()).problems


@pytest.mark.parametrize(
    ("needs", "code"),
    [
        (Needs(), "rtf_assumed"),
        (Needs(codec="wav48"), "compact"),
        (Needs(gpus=4), "fewer_gpus"),
        (Needs(users=19), "burst_refused"),
    ],
)
def test_notes_are_made_where_they_apply(needs: Needs, code: str) -> None:
    assert code in [note.code for note in make(needs).notes]
    quiet = make(Needs(rtf=0.2, users=18))
    assert not quiet.notes


@pytest.mark.parametrize("name", TIERS)
def test_tiers_are_those_of_the_inventories(name: str) -> None:
    values = yaml.safe_load(
        (ROOT / f"inventories/{name}/group_vars/all/service.yml").read_text(encoding="utf-8")
    )
    assert values["service_waiting_jobs_max"] == TIERS[name].waiting_jobs
    assert values["service_job_keep_s"] == TIERS[name].keep_days * 86400


@pytest.mark.parametrize("output", OUTPUT_BYTES_PER_S)
def test_outputs_are_as_large_as_our_encoder_makes_them(output: str) -> None:
    """Speech differs from speaker to speaker; the plan may be a little large, not small."""
    spoken = subprocess.run(
        ["espeak-ng", "--stdout", "-v", "en", "The upload is what fails first. " * 8],
        capture_output=True,
        check=True,
    ).stdout
    with wave.open(io.BytesIO(spoken)) as sound:
        rate = sound.getframerate()
        pcm = sound.readframes(len(spoken))
    # As much sound at 24 kHz as the engines give: pitch does not matter here.
    label = Label("espeak", True, "2025-11-03T09:30:00Z", "1")
    made = len(encode(pcm, 24_000, output, label)) / (len(pcm) / 2 / 24_000)
    assert rate > 16_000
    assert 0.6 * OUTPUT_BYTES_PER_S[output] < made < 1.1 * OUTPUT_BYTES_PER_S[output]


# The words.

PLANS = [
    Needs(),
    Needs(users=400, codec="wav48", up_mbit=0.37, output="opus"),
    Needs(users=1, rtf=0.9, audio_s=600, **GIGABIT),
    Needs(users=3000, gpus=40, link_down_mbit=333.3, keep_days=90),
]


@pytest.mark.parametrize("needs", PLANS)
@pytest.mark.parametrize("language", command.LANGUAGES)
def test_each_printed_line_speed_is_right_both_ways(needs: Needs, language: str) -> None:
    printed = words.text(make(needs), language)
    assert "mbps" not in printed.lower()
    lines = re.findall(r"([\d.]+) Mbit/s \(([\d.]+) (B|kB|MB|GB)/s\)", printed)
    assert len(lines) >= 6
    assert printed.count("bit/s") == len(lines)
    for mbit, figure, unit in lines:
        bytes_each_s = float(figure) * {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]
        assert float(mbit) * 1e6 / 8 == pytest.approx(bytes_each_s, rel=0.01)


@pytest.mark.parametrize("code", words.FINDINGS)
def test_each_finding_speaks_both_languages(code: str) -> None:
    finding = words.FINDINGS[code]
    names = [set(re.findall(r"\{(\w+)", finding[language])) for language in ("en", "zh")]
    assert names[0] == names[1]
    assert finding["en"].isascii()
    assert re.search(r"[\u4e00-\u9fff]", finding["zh"])


@pytest.mark.parametrize("needs", PLANS)
def test_chinese_is_chinese_and_english_ascii(needs: Needs) -> None:
    plan = make(needs)
    assert words.text(plan, "en").isascii()
    chinese = words.text(plan, "zh").splitlines()
    assert all(re.search(r"[\u4e00-\u9fff]", line) for line in chinese if line)
    assert len(chinese) == len(words.text(plan, "en").splitlines())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0 s"),
        (0.0004, "<1 ms"),
        (0.384, "384 ms"),
        (0.9999, "1 s"),
        (59.97, "1 min"),
        (3599, "1 h"),
        (86400, "1 d"),
    ],
)
def test_times_are_said_in_the_unit_that_fits(value: float, said: str) -> None:
    assert words.seconds(value, "en") == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0 %"), (1e-9, "<0.1 %"), (0.123, "12.3 %"), (0.99999, ">99.9 %"), (2.18, "218 %")],
)
def test_a_share_is_never_rounded_to_all_or_nothing(value: float, said: str) -> None:
    assert words.share(value) == said


# The command.


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["--config", "/nowhere/cosyhost.toml", "plan", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_alone_it_prints_a_plan_and_needs_no_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    status, out, err = run(capsys)
    assert (status, err) == (0, "")
    assert "Tier: demo" in out
    assert out == words.text(make(Needs()), "en") + "\n"


@pytest.mark.parametrize(
    ("environment", "arguments", "chinese"),
    [
        ({"LANG": "zh_CN.UTF-8"}, (), True),
        ({"LANG": "en_GB.UTF-8"}, (), False),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, (), False),
        ({"LANG": "en_GB.UTF-8"}, ("--lang", "zh"), True),
        ({}, (), False),
    ],
)
def test_the_language_is_the_terminals_or_as_asked(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    arguments: tuple[str, ...],
    chinese: bool,
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert ("推荐档位" in run(capsys, *arguments)[1]) is chinese


def test_each_option_reaches_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    given: dict[str, Any] = {
        "users": 7,
        "jobs_per_user_hour": 2.5,
        "hours_per_day": 3,
        "prompt_s": 8,
        "codec": "opus",
        "audio_s": 9,
        "output": "flac",
        "up_mbit": 4,
        "down_mbit": 40,
        "link_up_mbit": 60,
        "link_down_mbit": 70,
        "gpus": 2,
        "jobs_per_gpu": 3,
        "rtf": 0.3,
        "keep_days": 4,
        "reach": "internet",
    }
    assert set(given) == {field.name for field in dataclasses.fields(Needs)}
    flags = [word for name, value in given.items() for word in (command._flag(name), str(value))]
    status, out, _ = run(capsys, *flags, "--json")
    document = json.loads(out)
    assert document["needs"] == given
    assert status == 0
    assert document["holds"] is True
    assert document["user"]["upload_s"] == pytest.approx(8 * 122_325 / 15 / 500_000)


def test_a_plan_that_does_not_hold_says_so_by_its_exit_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, _ = run(capsys, "--users", "400", "--json")
    document = json.loads(out)
    assert status == 3
    assert document["holds"] is False
    assert document["queue"]["wait_mean_s"] is None
    assert "overload" in [problem["code"] for problem in document["problems"]]
    assert "GPU" in document["problems"][0]["zh"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--users", "many"), "plan_not_a_number"),
        (("--up-mbit", "10M"), "plan_not_a_number"),
        (("--up-mbit", "nan"), "plan_not_a_number"),
        (("--up-mbit", ""), "plan_not_a_number"),
        (("--up-mbit", "inf"), "plan_out_of_range"),
        (("--up-mbit", "0"), "plan_out_of_range"),
        (("--down-mbit=-5",), "plan_out_of_range"),
        (("--users", "0"), "plan_out_of_range"),
        (("--users", "1e99"), "plan_out_of_range"),
        (("--gpus", "1.5"), "plan_not_whole"),
        (("--prompt-s", "31"), "plan_out_of_range"),
        (("--prompt-s", "2.9"), "plan_out_of_range"),
        (("--codec", "mp3"), "plan_unknown_choice"),
        (("--codec", "{codec}"), "plan_unknown_choice"),
        (("--reach", "moon"), "plan_unknown_choice"),
        (("--lang", "de"), "plan_unknown_choice"),
        (("--users", "100000", "--rtf", "100", "--audio-s", "3600"), "plan_too_large"),
    ],
)
def test_a_wrong_value_is_named_in_both_languages(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: str
) -> None:
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (1, "")
    assert err.startswith(f"cosyhost: {code}: ")
    assert err.count("\n") == 1
    assert re.search(r"[\u4e00-\u9fff].*。$", err)
    if code != "plan_too_large":
        assert err.count(arguments[0].split("=")[0]) >= 2


@pytest.mark.parametrize(
    "name", [name for name, option in command.OPTIONS.items() if isinstance(option, command.Number)]
)
@pytest.mark.parametrize("end", ["low", "high"])
def test_the_ends_of_each_range_can_be_planned_and_printed(name: str, end: str) -> None:
    value = getattr(command.OPTIONS[name], end)
    plan = make(command.needs_of({name: str(value)}))
    for language in command.LANGUAGES:
        assert words.text(plan, language)
    json.dumps(command.document(plan), allow_nan=False)


def test_the_largest_load_is_planned_in_a_moment() -> None:
    plan = make(command.needs_of({"users": "100000", "rtf": "0.095", "audio_s": "3000"}))
    assert 90_000 < plan.queue.load_erlangs < command.LOAD_LIMIT
    assert plan.queue.gpus_enough * 2 > plan.queue.load_erlangs


def test_the_help_names_units_defaults_and_exit_statuses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["plan", "--help"])
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name in command.OPTIONS:
        assert command._flag(name) in shown
    for words_of_it in ("exit status:", "0 the plan holds", "3 the plan is printed", "Mbit/s"):
        assert words_of_it in shown
    assert shown.count("default:") == len(command.OPTIONS) + 1


def test_the_plan_needs_nothing_but_python() -> None:
    """It runs where the service is not installed yet: on the machine of who asks."""
    program = (
        "import sys; before = set(sys.modules); import cosyhost.plan.command;"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT / "service")},
    )
    assert set(answer.stdout.split()) <= {*sys.stdlib_module_names, "cosyhost"}


def test_the_documents_show_what_is_printed() -> None:
    """docs/plan.md carries real output: the plain command's in both languages."""
    page = (ROOT / "docs/plan.md").read_text(encoding="utf-8")
    for language in command.LANGUAGES:
        assert words.text(make(Needs()), language) in page
