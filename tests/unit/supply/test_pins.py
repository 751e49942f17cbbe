"""What hosts, the page, the model and this machine are made of is pinned, and proved by a hash."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomllib
import yaml

from tests.supply import ROOT, SupplyError, locks, parts

HEX64 = re.compile(r"[0-9a-f]{64}")
HEX40 = re.compile(r"[0-9a-f]{40}")
HASH = "--hash=sha256:" + "a" * 64


@pytest.mark.parametrize("name", locks.locks())
def test_each_line_of_a_lock_is_one_version_with_hashes(name: str) -> None:
    path = locks.locks()[name]
    pins = locks.read(path)
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line[:1].isalnum()]
    assert len(pins) == len(lines) > 0
    assert all(pin.hashes for pin in pins)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("attrs==26.1.0", "has no hash"),
        (f"attrs>=26.1.0 {HASH}", "no exact version"),
        (f"attrs==26.* {HASH}", "no exact version"),
        (f"attrs==26.1.0,!=26.1.1 {HASH}", "no exact version"),
        (f"attrs {HASH}", "no exact version"),
        (f"attrs @ https://example.org/attrs.whl {HASH}", "no exact version"),
        ("--extra-index-url https://example.org/simple", "no pin"),
        ("-r other.txt", "no pin"),
        ("attrs==26.1.0 --hash=md5:" + "a" * 32, "no pin"),
    ],
)
def test_a_line_that_could_bring_something_else_is_refused(
    tmp_path: Path, line: str, reason: str
) -> None:
    lock = tmp_path / "web.txt"
    lock.write_text(f"# a comment\nidna==3.20 \\\n    {HASH}\n{line}\n", encoding="utf-8")
    with pytest.raises(SupplyError, match=reason) as refused:
        locks.read(lock)
    assert "make lock" in str(refused.value)


def test_a_part_of_a_lock_is_in_the_lock_it_is_made_for() -> None:
    for part in locks.PARTS:
        text = (locks.LOCKS / part).read_text(encoding="utf-8")
        assert any(text in path.read_text(encoding="utf-8") for path in locks.locks().values())


def test_only_what_hosts_install_is_counted() -> None:
    pins = {pin.name: pin for pin in locks.read(locks.locks()["web"])}
    assert pins["colorama"].pythons == ()  # Windows
    assert pins["msgspec"].pythons == locks.PYTHONS
    assert pins["async-timeout"].pythons == ("3.11", "3.10")  # before 3.11.3


def test_pip_installs_from_nothing_but_locks() -> None:
    """The one exception is our own wheel, whose SHA-256 names the release."""
    told = []
    places = [ROOT / "Makefile", *(ROOT / "roles").rglob("*.yml"), *(ROOT / "playbooks").glob("*")]
    for path in places:
        text = path.read_text(encoding="utf-8")
        # A command may go over several lines: what follows belongs to it.
        for found in re.finditer(r"pip(?:',)? '?(?:install|download)\b", text):
            command = text[found.start() : found.start() + 220]
            if "--require-hashes" not in command:
                told.append((path.relative_to(ROOT).as_posix(), command.split("\n")[0]))
    assert [place for place, _ in told] == ["roles/release/tasks/part.yml"], told
    part = (ROOT / "roles/release/tasks/part.yml").read_text(encoding="utf-8")
    uses = [line.strip() for line in part.splitlines() if "__release_pip | join" in line]
    assert len(uses) == 2
    assert "--require-hashes" in uses[0]
    assert uses[1].endswith("./{{ release_wheel | basename }}")


def test_what_builds_the_wheel_is_the_locked_one() -> None:
    project = tomllib.loads((ROOT / "service/pyproject.toml").read_text(encoding="utf-8"))
    control = {f"{pin.name}=={pin.version}" for pin in locks.read(locks.locks()["control"])}
    assert project["build-system"]["requires"]
    assert set(project["build-system"]["requires"]) <= control


def test_what_comes_from_npm_has_its_integrity() -> None:
    for one in (*parts.packed(), parts.bundler(), *parts.pictures()):
        assert re.fullmatch(r"\d+\.\d+\.\d+([-+][\w.-]+)?", one.version), one
        assert len(one.sha512) == 128
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "npm ci" in makefile
    assert "npm install" not in makefile


def test_an_integrity_that_proves_nothing_is_refused() -> None:
    weak = parts.Npm("left-pad", "1.3.0", "sha1-W4o6d2Xf5wC4fZ5c7Zs8wH0cU6k=")
    with pytest.raises(SupplyError, match="no sha512"):
        _ = weak.sha512


def test_a_tarball_of_npm_that_is_another_does_not_fit() -> None:
    for borrowed in (*parts._build_hook().BORROWED, parts._build_hook().ESBUILD):
        assert not borrowed.fits(b"another tarball")


def test_upstream_is_a_commit_and_its_submodule_is_known() -> None:
    for commit in parts.upstream():
        assert HEX40.fullmatch(commit.commit), commit
        assert commit.url.startswith("https://"), commit


def test_an_unknown_commit_of_upstream_asks_for_its_submodule(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts, "_MATCHA", {})
    with pytest.raises(SupplyError, match="git ls-tree"):
        parts.upstream()


def test_no_tier_moves_upstream_or_the_model() -> None:
    """A tier may name mirrors, never another commit."""
    for path in (ROOT / "inventories").rglob("*.yml"):
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        assert not values.keys() & {"engine_upstream_commit", "model_manifest"}, path


def test_each_file_of_the_model_has_size_and_hash() -> None:
    manifest = parts.model()
    assert HEX40.fullmatch(manifest["huggingface"]["revision"])
    assert len(manifest["files"]) > 10
    for name, file in manifest["files"].items():
        assert HEX64.fullmatch(file["sha256"]), name
        assert file["size"] > 0, name


def _tasks(path: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []

    def walk(node: object) -> None:
        if isinstance(node, list):
            for item in node:
                walk(item)
        elif isinstance(node, dict):
            found.append(node)
            for key in ("block", "rescue", "always"):
                walk(node.get(key))

    walk(yaml.safe_load(path.read_text(encoding="utf-8")))
    return found


ALL_TASKS = [
    (path, task) for path in (ROOT / "roles").glob("*/tasks/*.yml") for task in _tasks(path)
]


def test_a_url_is_fetched_with_its_checksum_only() -> None:
    fetched = [task["ansible.builtin.get_url"] for _, task in ALL_TASKS
               if "ansible.builtin.get_url" in task]  # fmt: skip
    assert fetched
    assert all(str(one["checksum"]).startswith("sha256:") for one in fetched)  # type: ignore[index]
    unpinned = ("ansible.builtin.pip", "ansible.builtin.git", "community.general.npm")
    assert [path for path, task in ALL_TASKS if any(name in task for name in unpinned)] == []


def test_debian_packages_come_from_lists_that_are_counted() -> None:
    """A role that installs a package by another way would be missing in the bill."""
    for path, task in ALL_TASKS:
        apt = task.get("ansible.builtin.apt")
        if not isinstance(apt, dict) or "name" not in apt or apt.get("state") == "absent":
            continue
        role = path.parents[1].name
        allowed = {
            "base": "{{ __base_packages + ([] if __base_has_clock else __base_clock) }}",
            "bundle": "{{ ['python3-venv'] + (['git'] if bundle_repositories else []) }}",
            "grafana": "{{ omit if __grafana_way == 'deb' else __grafana_name }}",
        }.get(role, f"{{{{ __{role}_packages }}}}")
        assert apt["name"] == allowed, f"{path}: count it in tests/supply/parts.py: {apt['name']}"
        assert apt.get("state") != "latest", path
    debian = parts.debian()
    assert {"nginx", "redis-server", "espeak-ng", "python3-venv", "git", "grafana"} <= set(debian)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name) for name in debian)
