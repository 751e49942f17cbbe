"""Lines have the rate, delay, loss and queue they were asked for; groups fit the machine."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.testbed import UsageError
from tests.testbed.cgroups import Cgroups
from tests.testbed.errors import TestbedError
from tests.testbed.network import burst_bytes, hardware_address
from tests.testbed.wan import Line, Pipe

FRAME_BYTES = 1250  # 10 kbit


def test_frames_leave_at_the_lines_rate_after_its_delay() -> None:
    pipe = Pipe(1, Line(delay_ms=20))
    out = [pipe.offer(0.0, FRAME_BYTES) for _ in range(3)]
    assert out == pytest.approx([0.030, 0.040, 0.050])


def test_a_full_queue_drops_frames_until_it_has_drained() -> None:
    pipe = Pipe(1, Line(queue_ms=100))
    out = [pipe.offer(0.0, FRAME_BYTES) for _ in range(20)]
    assert out.count(None) == pipe.dropped == 9
    assert pipe.offer(0.05, FRAME_BYTES) is not None


def test_the_share_of_lost_frames_is_as_asked() -> None:
    pipe = Pipe(1000, Line(loss_pct=10, queue_ms=1e9), random.Random(1).random)
    for number in range(5000):
        pipe.offer(number / 1000, FRAME_BYTES)
    assert 400 < pipe.lost < 600
    assert pipe.passed + pipe.lost == 5000


def test_jitter_never_reorders_frames() -> None:
    pipe = Pipe(100, Line(delay_ms=20, jitter_ms=20), random.Random(1).random)
    out = [time for n in range(500) if (time := pipe.offer(n / 1000, FRAME_BYTES)) is not None]
    assert out == sorted(out)
    assert len({round(after - n / 1000, 3) for n, after in enumerate(out)}) > 5


@pytest.mark.parametrize("bad", [{"up_mbit": 0}, {"loss_pct": 101}, {"delay_ms": -1}])
def test_an_impossible_line_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Line(**bad)


def test_a_bucket_is_never_too_small_for_its_rate() -> None:
    assert burst_bytes("5mbit") == 16 * 1024
    assert burst_bytes("1gbit") == 1_250_000


@pytest.mark.parametrize("rate", ["fast", "5", "5mb", "0mbit", "-1mbit", "5mbit; true"])
def test_a_bad_rate_is_refused_with_an_example(rate: str) -> None:
    with pytest.raises(UsageError, match="write it like 5mbit"):
        burst_bytes(rate)


def test_a_hosts_mac_depends_on_its_address_alone() -> None:
    assert hardware_address("10.77.0.11/24") == hardware_address("10.77.0.11")
    assert hardware_address("10.77.0.11") == "02:00:0a:4d:00:0b"


def test_a_hybrid_machine_takes_part_in_its_v1_hierarchies(tmp_path: Path) -> None:
    for name in ("unified", "systemd", "memory", "pids", "freezer"):
        (tmp_path / name).mkdir()
    groups = Cgroups.detect("tag", tmp_path)
    assert groups.unified == tmp_path / "unified"
    assert groups.delegated == ("memory", "pids")
    assert {path.name for path in groups.legacy} == {"systemd", "memory", "pids"}


def test_a_pure_v2_machine_hands_down_its_controllers(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "tag", tmp_path / "tag" / "web"):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.controllers").write_text("cpu memory pids\n")
    groups = Cgroups.detect("tag", tmp_path)
    assert not groups.hybrid
    groups.create("web")
    assert (tmp_path / "tag" / "cgroup.subtree_control").exists()
    assert groups.fresh_machine("web") == [tmp_path / "tag/web/machine/cgroup.procs"]
    assert groups.known() == ["web"]


def test_a_machine_without_cgroup_v2_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match="cgroup v2"):
        Cgroups.detect("tag", tmp_path)
