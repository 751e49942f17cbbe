"""The plan's sums: the design's figures, the queue's formulas, and values that cannot be."""

from __future__ import annotations

import json
import math
import random
import re

import pytest

from cosyhost import wire
from cosyhost.cli import main
from cosyhost.plan import LINES, Wish, plan, report, sentences
from cosyhost.plan.queueing import mean_wait_s, wait_within_s, waits
from cosyhost.plan.sums import HEAVY_PAGE_BYTES


def test_a_15_s_wav_of_16_khz_is_480_kb() -> None:
    size = plan(Wish(codec="wav16", prompt_s=15)).prompt_bytes
    assert round(size / 1000) == 480


def test_outputs_are_half_a_megabyte_to_one() -> None:
    assert 0.5e6 < plan(Wish(audio_s=10.5)).output_bytes < plan(Wish(audio_s=20)).output_bytes < 1e6


def test_ten_users_at_once_move_under_10_mb_in_a_tenth_of_a_second_or_about_one() -> None:
    """The source's outputs of 500 kB, on a gigabit and on 100 Mbit/s."""
    wish = {"users": 10, "codec": "wav16", "audio_s": 10.4}
    gigabit = plan(Wish(**wish, link_up_mbit=1000, link_down_mbit=1000))  # type: ignore[arg-type]
    hundred = plan(Wish(**wish, link_up_mbit=100, link_down_mbit=100))  # type: ignore[arg-type]
    assert 9e6 < gigabit.together_bytes == hundred.together_bytes < 10e6
    assert round(gigabit.together_s, 1) == 0.1
    assert round(hundred.together_s) == 1


def test_home_lines_and_hotspots_are_as_thin_as_the_source_says() -> None:
    assert (LINES["home"].up_mbit, LINES["home"].down_mbit) == (10, 100)
    assert LINES["hotspot"].up_mbit <= 1
    assert LINES["business"].up_mbit == LINES["business"].down_mbit == 100
    home = plan(Wish(codec="wav16", up_mbit=LINES["home"].up_mbit))
    assert home.upload_s < 0.5, "the source: a 480 kB recording in under half a second"
    assert plan(Wish(codec="wav16", up_mbit=1)).upload_s == pytest.approx(3.84, abs=0.01)


def test_a_heavy_page_has_5_to_10_mb() -> None:
    assert HEAVY_PAGE_BYTES == (5e6, 10e6)
    assert plan(Wish(down_mbit=100, link_up_mbit=100)).heavy_page_s == pytest.approx((0.4, 0.8))
    assert "0.8 s" in plan_says(down_mbit=100, link_up_mbit=100)


def plan_says(lang: str = "en", **wish: float) -> str:
    return "\n".join(sentences(plan(Wish(**wish)), lang))  # type: ignore[arg-type]


def test_megabits_are_not_megabytes() -> None:
    """The source's snippet printed 20.04 MB/s as Mbps."""
    assert wire.mbit_s(20_040_000, 1) == pytest.approx(160.32)
    assert wire.mbit_s(1_000_000, 2) == 1_000_000 * 8 / 1e6 / 2
    assert wire.transfer_s(1_250_000, 10) == 1
    for wrong in (0.0, -1.0):
        with pytest.raises(ValueError, match="line"):
            wire.transfer_s(1, wrong)
        with pytest.raises(ValueError, match="time"):
            wire.mbit_s(1, wrong)


@pytest.mark.parametrize("load", [0.1, 0.5, 0.9])
def test_one_server_waits_as_m_m_1_does(load: float) -> None:
    """Closed form: the share that waits is the load, the mean wait load S / (1 - load)."""
    assert waits(1, load) == pytest.approx(load)
    assert mean_wait_s(1, load / 4, 4) == pytest.approx(load * 4 / (1 - load))
    late = wait_within_s(1, load / 4, 4, 0.95)
    assert load * math.exp(-(1 - load) / 4 * late) == pytest.approx(0.05)
    assert wait_within_s(1, 0.04 / 4, 4, 0.95) == 0


@pytest.mark.parametrize(("servers", "load"), [(2, 1.0), (3, 2.5), (8, 6.0)])
def test_erlang_c_is_its_own_sum(servers: int, load: float) -> None:
    """The recursion against the formula as Erlang wrote it."""
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    before = sum(load**k / math.factorial(k) for k in range(servers))
    assert waits(servers, load) == pytest.approx(last / (before + last))


def test_a_simulated_queue_waits_as_long() -> None:
    """100,000 jobs, three servers, load 80 %; the mean of such a run strays by some 3 %."""
    chance, servers, service_s, arrivals_s = random.Random(7), 3, 5.0, 0.48
    free, now, waited = [0.0] * servers, 0.0, []
    for _ in range(100_000):
        now += chance.expovariate(arrivals_s)
        at = min(range(servers), key=free.__getitem__)
        begins = max(now, free[at])
        waited.append(begins - now)
        free[at] = begins + chance.expovariate(1 / service_s)
    mean = sum(waited) / len(waited)
    assert mean == pytest.approx(mean_wait_s(servers, arrivals_s, service_s), rel=0.1)
    share = sum(wait > 0 for wait in waited) / len(waited)
    assert share == pytest.approx(waits(servers, arrivals_s * service_s), rel=0.05)
    late = sorted(waited)[int(0.95 * len(waited))]
    assert late == pytest.approx(wait_within_s(servers, arrivals_s, service_s, 0.95), rel=0.1)


def test_a_queue_that_never_ends_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    crowd = plan(Wish(users=200))
    assert not crowd.stable
    assert crowd.wait_mean_s == crowd.wait_p95_s == math.inf
    assert "grows without end" in plan_says(users=200)
    assert "一直变长" in plan_says("zh", users=200)
    for load in (2, 3):
        with pytest.raises(ValueError, match="without end"):
            waits(2, load)
    assert main(["plan", "--users", "200", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["stable"] is False
    assert document["wait_mean_s"] is None
    assert document["gpus_needed"] > 2


def test_the_users_it_holds_and_the_gpus_it_needs_are_the_edge() -> None:
    for users in (1, 47, 400):
        needed = plan(Wish(users=users)).gpus_needed
        assert plan(Wish(users=users, gpus=needed)).wait_p95_s <= 20
        assert needed == 1 or plan(Wish(users=users, gpus=needed - 1)).wait_p95_s > 20
    most = plan(Wish()).users_at_most
    assert plan(Wish(users=most)).wait_p95_s <= 20 < plan(Wish(users=most + 1)).wait_p95_s
    assert plan(Wish(rtf=10, audio_s=120, jobs_per_user_hour=60)).users_at_most == 0


def test_disk_is_what_the_jobs_leave() -> None:
    wish = Wish(users=10, jobs_per_user_hour=12, hours_per_day=8, audio_s=15)
    assert plan(wish).disk_bytes_per_day == 960 * (15 * 24_000 * 2 + 44)


@pytest.mark.parametrize(
    ("wish", "tier", "words"),
    [
        ({"users": 1}, "local", "One user"),
        (
            {"up_mbit": 1000, "down_mbit": 1000, "link_up_mbit": 1000, "link_down_mbit": 1000},
            "lan",
            "gigabit",
        ),
        ({}, "demo", "one host"),
        ({"link_up_mbit": 30}, "demo", "under 50 Mbit/s"),
        ({"users": 200, "link_up_mbit": 100}, "production", "more than a trial"),
        ({"users": 1000, "rtf": 2}, "production", "of one host"),
        ({"codec": "wav48", "link_down_mbit": 0.1}, "demo", "full on average"),
    ],
)
def test_a_tier_is_recommended_with_its_reason(
    wish: dict[str, float], tier: str, words: str
) -> None:
    assert plan(Wish(**wish)).tier == tier  # type: ignore[arg-type]
    assert words in plan_says("en", **wish)
    assert re.search("[\u4e00-\u9fff]", plan_says("zh", **wish))


def test_both_languages_have_the_same_words() -> None:
    en, zh = report._WORDS["en"], report._WORDS["zh"]
    assert set(en) == set(zh)
    for key in en:
        if key != "to":
            assert set(re.findall(r"{(\w*)", en[key])) == set(re.findall(r"{(\w*)", zh[key])), key


def test_alone_it_prints_something_useful_in_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan"]) == 0
    said = capsys.readouterr().out
    assert "Recommended tier: demo" in said
    assert "建议级别：demo" in said
    assert re.search(r"phone hotspot, 1 +3\.8 s +23 s +3\.3 s +1\.0 s", said)
    assert main(["plan", "--lang", "zh"]) == 0
    assert "Recommended" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        ["--users", "0"],
        ["--users", "1.5"],
        ["--users", "many"],
        ["--link-up", "-1"],
        ["--rtf", "nan"],
        ["--up-mbit", "inf"],
        ["--audio-s", "1e9"],
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_bounds(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["plan", *wrong])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert f"argument {wrong[0]}: plan_value_invalid" in said
    assert "请给出" in said


def test_the_largest_values_are_answered_quickly() -> None:
    wish = Wish(users=10_000, jobs_per_user_hour=60, rtf=10, audio_s=120, jobs_per_gpu=1)
    assert plan(wish).gpus_needed > 100_000
