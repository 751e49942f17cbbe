"""Models: fetched through cuts, proved, never half there, and not hashed twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from roles.model.files import model
from tests.unit.model.conftest import MB, Mirror

PROGRAM = Path(model.__file__)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow one another at once; a second model needs no room kept free."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(model, "SPARE_BYTES", 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB, too small for the model of 5 MB."""
    if os.geteuid():
        pytest.skip("mounting needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def whole(to: Path, mirror: Mirror) -> bool:
    """Whether `to` has every file as the mirror has it."""
    names = ("llm.pt", "flow.pt", "sub/a b.json", "z")
    return all((to / name).read_bytes() == (mirror.folder / name).read_bytes() for name in names)


def beside(to: Path) -> list[str]:
    """What a fetch left beside the model."""
    return sorted(
        path.name for path in to.parent.iterdir() if path.name.endswith((".partial", "ed"))
    )


def told(tmp_path: Path) -> dict[str, object]:
    """What the progress file says."""
    said: dict[str, object] = json.loads((tmp_path / "progress.json").read_text())
    return said


@pytest.mark.parametrize(
    ("source", "prefix", "path"),
    [
        ("url", "/m", "/m/llm.pt"),
        ("modelscope", "/models/org/m/resolve/master", "/models/org/m/resolve/master/llm.pt"),
        ("huggingface", "/org/m/resolve/abc", "/org/m/resolve/abc/llm.pt"),
    ],
)
def test_a_model_comes_from_each_kind_of_server(
    mirror: Mirror, fetch: Callable[..., Path], source: str, prefix: str, path: str, tmp_path: Path
) -> None:
    mirror.prefix = prefix
    to = fetch(source, None if source == "url" else mirror.url)
    assert whole(to, mirror)
    assert path in [asked for asked, _ in mirror.asked]
    assert beside(to) == []
    assert told(tmp_path)["state"] == "done"


def test_a_model_comes_from_a_folder(mirror: Mirror, fetch: Callable[..., Path]) -> None:
    assert whole(fetch("path", str(mirror.folder)), mirror)
    assert mirror.asked == []


def test_cut_connections_are_resumed_where_they_broke_off(
    mirror: Mirror, fetch: Callable[..., Path]
) -> None:
    mirror.cut_after = 300_000
    to = fetch()
    assert whole(to, mirror)
    assert mirror.sent == sum(
        path.stat().st_size for path in to.rglob("*") if path.is_file() and path.name[0] != "."
    )
    assert ("/m/llm.pt", "bytes=300000-") in mirror.asked


def test_a_server_without_ranges_sends_the_file_anew(
    mirror: Mirror, fetch: Callable[..., Path], manifest: Path
) -> None:
    mirror.cut_after, mirror.ranges = 100_000, False
    with pytest.raises(model.Failure, match="COSY-MODEL-SOURCE"):
        fetch()
    mirror.cut_after = None
    assert whole(fetch(), mirror)


def test_a_dead_mirror_ends_with_its_cure(fetch: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(model.Failure, match=r"COSY-MODEL-SOURCE.*model_location.*镜像"):
        fetch(location="http://127.0.0.1:1/m")
    assert told(tmp_path)["state"] == "failed"


def test_a_file_that_is_not_there_is_said_at_once(
    mirror: Mirror, fetch: Callable[..., Path]
) -> None:
    (mirror.folder / "flow.pt").unlink()
    with pytest.raises(model.Failure, match=r"flow.pt: HTTP 404"):
        fetch()
    assert [path for path, _ in mirror.asked].count("/m/flow.pt") == 1


def test_wrong_bytes_are_refused_and_the_good_model_stays(
    mirror: Mirror, fetch: Callable[..., Path]
) -> None:
    to = fetch()
    good = {path: path.read_bytes() for path in to.rglob("*.pt")}
    (to / "sub/a b.json").write_bytes(b"damaged")
    origin = mirror.folder / "sub/a%20b.json"
    origin.write_bytes(bytes(len(origin.read_bytes())))
    with pytest.raises(model.Failure, match="COSY-MODEL-SHA"):
        fetch()
    assert {path: path.read_bytes() for path in to.rglob("*.pt")} == good
    assert (to / "sub/a b.json").read_bytes() == b"damaged"


def test_one_damaged_file_is_mended_and_the_others_are_not_fetched_again(
    mirror: Mirror, fetch: Callable[..., Path]
) -> None:
    to = fetch()
    inode = (to / "llm.pt").stat().st_ino
    mirror.asked.clear()
    path = to / "flow.pt"
    path.write_bytes(bytes(path.stat().st_size))
    assert whole(fetch(), mirror)
    assert [path for path, _ in mirror.asked] == ["/m/flow.pt"]
    assert (to / "llm.pt").stat().st_ino == inode


def test_a_folder_half_there_is_completed(mirror: Mirror, fetch: Callable[..., Path]) -> None:
    to = fetch()
    (to / "llm.pt").unlink()
    (to / "sub/a b.json").unlink()
    mirror.asked.clear()
    assert whole(fetch(), mirror)
    assert {path for path, _ in mirror.asked} == {"/m/llm.pt", "/m/sub/a%20b.json"}


def test_unchanged_files_are_hashed_once(
    manifest: Path, fetch: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    to = fetch()
    hashed: list[Path] = []
    digest = model.digest

    def counted(path: Path) -> str:
        hashed.append(path)
        return digest(path)

    monkeypatch.setattr(model, "digest", counted)
    known = model.Manifest.read(str(manifest))
    assert model.wrong(known, to) == []
    assert hashed == []
    os.utime(to / "llm.pt")
    assert model.wrong(known, to) == []
    assert hashed == [to / "llm.pt"]


def test_too_small_a_disk_is_refused_before_anything_comes(
    mirror: Mirror, fetch: Callable[..., Path], small_disk: Path
) -> None:
    with pytest.raises(model.Failure, match=r"COSY-MODEL-DISK.*MB are needed"):
        fetch(to=small_disk / "m")
    assert mirror.asked == []


def test_a_disk_that_fills_up_on_the_way_keeps_what_came(
    mirror: Mirror,
    fetch: Callable[..., Path],
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    real = shutil.disk_usage

    def roomy(path: Path) -> object:
        return real("/")

    monkeypatch.setattr(shutil, "disk_usage", roomy)
    with pytest.raises(model.Failure, match="COSY-MODEL-DISK"):
        fetch(to=small_disk / "m")
    assert not (small_disk / "m").exists()
    assert (small_disk / ".m.partial/flow.pt").exists()
    assert "COSY-MODEL-DISK" in str(told(tmp_path)["text"])
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    mirror.asked.clear()
    assert whole(fetch(to=small_disk / "m"), mirror)
    assert "/m/flow.pt" not in [path for path, _ in mirror.asked]


def test_a_killed_run_is_taken_up_and_tells_how_far_it_is(
    mirror: Mirror, manifest: Path, tmp_path: Path
) -> None:
    to, progress = tmp_path / "models/m", tmp_path / "progress.json"
    command = [
        sys.executable, str(PROGRAM), "fetch", f"--manifest={manifest}", f"--to={to}",
        "--source=url", f"--location={mirror.url}/m", f"--progress={progress}",
    ]  # fmt: skip
    mirror.slow.set()
    with subprocess.Popen(command) as process:
        part = to.parent / ".m.partial/llm.pt.part"
        while not (part.exists() and part.stat().st_size >= MB):
            assert process.poll() is None
            os.sched_yield()
        text = str(told(tmp_path)["text"])
        process.send_signal(signal.SIGKILL)
    assert "% of 5 MB" in text
    assert "MB/s" in text
    assert not to.exists()
    had = part.stat().st_size
    mirror.slow.clear()
    mirror.asked.clear()
    assert subprocess.run(command, check=False).returncode == 0
    assert whole(to, mirror)
    assert ("/m/llm.pt", f"bytes={had}-") in mirror.asked


def test_two_runs_at_once_fetch_once(mirror: Mirror, manifest: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, str(PROGRAM), "fetch", f"--manifest={manifest}",
        f"--to={tmp_path / 'models/m'}", "--source=url", f"--location={mirror.url}/m",
        f"--progress={tmp_path / 'progress.json'}",
    ]  # fmt: skip
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert whole(tmp_path / "models/m", mirror)
    assert [path for path, _ in mirror.asked].count("/m/llm.pt") == 1


@pytest.mark.parametrize("path", ["../evil", "/etc/passwd", "a/../../b", ".checked.json"])
def test_a_manifest_names_files_of_the_model_only(path: str) -> None:
    given = {"name": "m", "files": {path: {"size": 1, "sha256": "0" * 64}}}
    with pytest.raises(model.Failure, match="COSY-MODEL-MANIFEST"):
        model.Manifest.read(json.dumps(given))


def test_a_manifest_that_is_none_is_refused(tmp_path: Path) -> None:
    for text in ("[]", "{}", '{"name": "m", "files": {}}', '{"name": "m", "files": {"a": 3}}'):
        (tmp_path / "m.json").write_text(text)
        with pytest.raises(model.Failure, match=r"MANIFEST.*请用"):
            model.Manifest.read(str(tmp_path / "m.json"))


def test_the_pinned_manifest_is_one_that_can_be_used() -> None:
    root = Path(__file__).parents[3]
    pinned = model.Manifest.read(str(root / "files/models/cosyvoice3-0.5b-2512.json"))
    assert set(pinned.hubs) == {"modelscope", "huggingface"}
    assert 5e9 < pinned.size < 6e9
    assert "cosyvoice3" in pinned.name  # vLLM-Omni knows the model by its folder's name


def test_a_location_that_is_no_address_is_refused(fetch: Callable[..., Path]) -> None:
    with pytest.raises(model.Failure, match="COSY-MODEL-SOURCE"):
        fetch(location="file:///etc")


def test_check_says_what_is_wrong(manifest: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-", "check", "--manifest", manifest.read_text(), "--to", "/nowhere"]
    done = subprocess.run(
        command, input=PROGRAM.read_text(), capture_output=True, text=True, check=True
    )
    assert "llm.pt" in json.loads(done.stdout)["wrong"]
