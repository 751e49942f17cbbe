"""Retention on real folders: what goes, in which order, and what is never touched."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from pathlib import Path

import msgspec
import pytest

from cosyhost import cli
from cosyhost.config import Store, load
from cosyhost.errors import Problem
from cosyhost.retention import Policy, Report, chore, policy, run
from cosyhost.retention.places import place_of
from cosyhost.retention.policy import Kept, cutoff
from cosyhost.web import intake
from cosyhost.web.services import Services, open_services

NOW = time.time()
HOUR = 3600.0
NONE = Policy(0, 0, 0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outputs").mkdir()
    return tmp_path


def stored(root: Path) -> Store:
    """The settings of a store in that folder."""
    return Store(f"file://{root}", endpoint="", region="")


def put(root: Path, name: str, age_h: float, size: int = 1000, used_h: float | None = None) -> Path:
    """An output of that age; the kernel dates its inode now, so tests look from the future."""
    path = root / "outputs" / name
    path.write_bytes(bytes(size))
    then = NOW - age_h * HOUR
    os.utime(path, (NOW - (age_h if used_h is None else used_h) * HOUR, then))
    return path


def go(root: Path, policy: Policy, *, dry: bool = False) -> Report:
    with place_of(stored(root)) as place:
        return run(place, policy, now=NOW, dry=dry)


def names(root: Path) -> set[str]:
    return {path.name for path in (root / "outputs").iterdir()}


def test_what_is_too_old_goes_and_nothing_else(root: Path) -> None:
    put(root, "old.wav", 30)
    put(root, "new.wav", 2)
    report = go(root, Policy(24 * 3600, 0, 0))
    assert names(root) == {"new.wav"}
    assert (report.old_files, report.old_bytes, report.excess_files) == (1, 1000, 0)


def test_the_oldest_go_until_the_rest_fits_the_quota(root: Path) -> None:
    for age in range(1, 11):
        put(root, f"{age}.wav", age)
    report = go(root, Policy(0, 4500, 0))
    assert names(root) == {"1.wav", "2.wav", "3.wav", "4.wav"}
    assert report.excess_files == 6
    assert report.lacking_bytes == 0


def test_of_outputs_of_one_age_only_as_many_go_as_have_to(root: Path) -> None:
    for number in range(10):
        put(root, f"{number}.wav", 5)
    report = go(root, Policy(0, 7000, 0))
    assert len(names(root)) == 7
    assert report.excess_bytes == 3000


def test_age_and_quota_together_count_nothing_twice(root: Path) -> None:
    put(root, "old.wav", 50, 5000)
    for age in (3, 2, 1):
        put(root, f"{age}.wav", age)
    for dry in (True, False):
        report = go(root, Policy(24 * 3600, 2000, 0), dry=dry)
        assert (report.old_files, report.excess_files) == (1, 1)
    assert names(root) == {"1.wav", "2.wav"}


def test_names_that_were_too_many_to_keep_are_listed_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "NAMES", 3)
    put(root, "old.wav", 60)
    for age in range(1, 11):
        put(root, f"{age}.wav", age)
    report = go(root, Policy(24 * 3600, 4500, 0))
    assert names(root) == {"1.wav", "2.wav", "3.wav", "4.wav"}
    assert (report.old_files, report.excess_files) == (1, 6)


def test_free_space_is_made_oldest_first(root: Path) -> None:
    for age in range(1, 4):
        put(root, f"{age}.wav", age, 400_000)
    with place_of(stored(root)) as place:
        free = place.free_bytes()
        assert free is not None
        report = run(place, Policy(0, 0, free + 300_000), now=NOW)
    assert "3.wav" not in names(root)
    assert "1.wav" in names(root)
    assert report.excess_files >= 1


def test_when_all_is_gone_it_says_what_lacks(root: Path) -> None:
    put(root, "a.wav", 5)
    report = go(root, Policy(0, 0, 2**60))
    assert names(root) == set()
    assert report.lacking_bytes > 2**59


def test_a_dry_run_counts_and_deletes_nothing(root: Path) -> None:
    for age in (40, 30, 3, 2):
        put(root, f"{age}.wav", age)
    dry = go(root, Policy(24 * 3600, 1000, 0), dry=True)
    assert len(names(root)) == 4
    real = go(root, Policy(24 * 3600, 1000, 0))
    assert (dry.old_files, dry.excess_files) == (real.old_files, real.excess_files) == (2, 1)


def test_what_somebody_has_just_fetched_or_written_stays(root: Path) -> None:
    put(root, "playing.wav", 50, used_h=0.1)
    put(root, "written.wav", 0.1)
    report = go(root, Policy(24 * 3600, 1, 0))
    assert names(root) == {"playing.wav", "written.wav"}
    assert report.in_use_files == 1
    assert report.lacking_bytes == 1999


def test_a_file_from_the_future_is_as_old_as_it_has_been_here(root: Path) -> None:
    path = put(root, "future.wav", -24 * 400)
    later = NOW + 48 * HOUR
    os.utime(path, (NOW, NOW + 400 * 24 * HOUR))
    with place_of(stored(root)) as place:
        run(place, Policy(24 * 3600, 0, 0), now=later)
    assert names(root) == set()


def test_links_folders_hidden_files_and_odd_names(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "precious"
    outside.write_text("x")
    outputs = root / "outputs"
    (outputs / "link.wav").symlink_to(outside)
    (outputs / "etc").symlink_to("/etc")
    (outputs / "sub").mkdir()
    (outputs / "sub/a.wav").write_bytes(b"x")
    (outputs / ".ready").write_bytes(b"")
    os.utime(outputs / ".ready", (0, 0))
    put(root, "a\nb.wav", 50)
    put(root, os.fsdecode(b"\xff\xfe.wav"), 50)
    report = go(root, Policy(3600, 1, 0))
    assert names(root) == {"link.wav", "etc", "sub", ".ready"}
    assert report.old_files == 2
    assert outside.read_text() == "x"
    assert (outputs / "sub/a.wav").exists()


def test_a_folder_that_is_swapped_for_a_link_is_refused_or_left_alone(root: Path) -> None:
    put(root, "a.wav", 50)
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.wav").write_bytes(b"x")
    os.utime(elsewhere / "a.wav", (0, 0))
    with place_of(stored(root)) as place:
        (root / "outputs").rename(root / "moved")
        (root / "outputs").symlink_to(elsewhere)
        run(place, Policy(3600, 0, 0), now=NOW)
    assert (elsewhere / "a.wav").exists()
    with pytest.raises(Problem) as caught:
        place_of(stored(root))
    assert caught.value.kind.code == "retention_place"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Problem) as caught:
        place_of(stored(tmp_path / "nowhere"))
    assert "nowhere" in caught.value.sentence("en")


def test_an_object_store_is_kept_within_its_limits() -> None:
    """The same run over obstore, in memory: pages of a thousand, deleted in batches."""
    import obstore
    from obstore.store import MemoryStore

    from cosyhost.retention.places import Objects

    place = Objects.__new__(Objects)
    place._url, place._store = "memory://", MemoryStore()
    for number in range(2500):
        obstore.put(place._store, f"outputs/{number}.wav", b"x" * 10)
    obstore.put(place._store, "voices/a.wav", b"x")
    later = time.time() + 2 * HOUR
    report = run(place, Policy(0, 5000, 0), now=later)
    left = [m["path"] for page in obstore.list(place._store) for m in page]
    assert report.excess_files == 2000
    assert len(left) == 501
    assert "voices/a.wav" in left
    run(place, Policy(3600, 0, 0), now=later)
    assert [m["path"] for page in obstore.list(place._store) for m in page] == ["voices/a.wav"]


@pytest.mark.parametrize("excess", [1, 999, 1000, 1001, 123_456, 10**9])
def test_the_cutoff_is_what_sorting_everything_says(excess: int) -> None:
    kept = Kept()
    pairs = [((n * 7919) % 5003 + (n % 3) / 7, 500 + n % 900) for n in range(3000)]
    for moment, size in pairs:
        kept.times.append(moment)
        kept.sizes.append(size)
    kept.bytes = sum(size for _, size in pairs)
    limit = cutoff(kept, excess)
    freed = sum(size for moment, size in sorted(pairs) if limit.takes(moment, size))
    expected, total = 0, 0
    for _, size in sorted(pairs):
        if total >= excess:
            break
        total, expected = total + size, expected + 1
    assert min(excess, kept.bytes) <= freed <= total + 1400


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    monkeypatch.setenv("STATE_DIRECTORY", str(folder))
    return folder


@pytest.fixture
def settings(config_path: Path, root: Path) -> Path:
    """Settings whose store is this test's own."""
    path = root / "cosyhost.toml"
    text = config_path.read_text().replace(f"file://{config_path.parent}/data", f"file://{root}")
    path.write_text(text.replace("max_age_s = 3600", "max_age_s = 86400"))
    return path


def test_the_command_says_in_both_languages_what_it_did(
    settings: Path, root: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(root, "old.wav", 50)
    assert cli.main(["--config", str(settings), "retention", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "would be deleted" in said
    assert "将被删除" in said
    assert names(root) == {"old.wav"}
    assert not (state / "last.json").exists()
    assert cli.main(["--config", str(settings), "retention", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["old_files"] == 1
    record = msgspec.json.decode((state / "last.json").read_bytes(), type=chore.Record)
    assert (record.deleted_files_total, record.deleted_bytes_total) == (1, 1000)
    put(root, "older.wav", 60)
    assert cli.main(["--config", str(settings), "retention"]) == 0
    record = msgspec.json.decode((state / "last.json").read_bytes(), type=chore.Record)
    assert record.deleted_files_total == 2


def test_two_runs_at_once_are_one(
    settings: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (state / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert cli.main(["--config", str(settings), "retention"]) == 1
    assert "retention_busy" in capsys.readouterr().err


def test_a_clock_that_leapt_deletes_nothing_for_its_age(
    settings: Path, root: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(root, "old.wav", 50)
    last = chore.Record(
        ended=time.time() - 400 * 24 * HOUR,
        boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        uptime_s=time.clock_gettime(time.CLOCK_BOOTTIME) - 60,
        period_s=600, run_seconds=0.1, deleted_files_total=0, deleted_bytes_total=0,
    )  # fmt: skip
    (state / "last.json").write_bytes(msgspec.json.encode(last))
    assert cli.main(["--config", str(settings), "retention"]) == 0
    assert names(root) == {"old.wav"}
    assert "时钟" in capsys.readouterr().err
    # The next run knows the new time.
    assert cli.main(["--config", str(settings), "retention"]) == 0
    assert names(root) == set()


def test_a_damaged_record_is_begun_anew(settings: Path, root: Path, state: Path) -> None:
    (state / "last.json").write_text("{")
    assert cli.main(["--config", str(settings), "retention"]) == 0
    assert msgspec.json.decode((state / "last.json").read_bytes(), type=chore.Record)


def services_with(config_path: Path, folder: Path, refuse_below_bytes: int) -> Services:
    path = folder / "room.toml"
    text = config_path.read_text()
    line = "refuse_below_bytes = 1000000"
    assert line in text
    path.write_text(text.replace(line, f"refuse_below_bytes = {refuse_below_bytes}"))
    return open_services(load(path), None)


def test_a_full_volume_refuses_jobs_and_asks_for_a_run_until_there_is_room(
    config_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    full = services_with(config_path, tmp_path, 2**60)
    with pytest.raises(Problem) as caught:
        asyncio.run(intake.accept(full, intake.Wish(text="你好。", voice="nobody")))
    assert (caught.value.kind.status, caught.value.retry_after_s) == (507, 60)
    assert (tmp_path / "retention").exists()
    # There is room again: the same wish is looked at, and refused for its voice.
    with pytest.raises(Problem) as caught:
        asyncio.run(
            intake.accept(
                services_with(config_path, tmp_path, 1), intake.Wish(text="你好。", voice="nobody")
            )
        )
    assert caught.value.kind.code == "voice_unknown"
