"""Every role looks alike, stays small and knows no group."""

from __future__ import annotations

import re

import pytest

from tests.roles.conftest import ROLES, ROOT, load

TASKS = ("main", "preflight", "install", "configure", "absent")
# `layout` judges the inventory and leaves nothing on a host to install or remove.
PARTS: dict[str, tuple[str, ...]] = dict.fromkeys(ROLES, TASKS) | {
    "layout": TASKS[:2],
    "release": TASKS[:2],  # what it switches between is installed by others
    "bundle": ("main", "preflight", "install", "absent"),  # what was carried needs no settings
    "retention": ("main", "preflight", "configure", "absent"),  # the release brings the command
}


@pytest.mark.parametrize("role", ROLES)
def test_role_has_its_files(role: str) -> None:
    folder = ROOT / "roles" / role
    files = ["defaults/main.yml", "meta/argument_specs.yml", "meta/main.yml"]
    files += [f"tasks/{part}.yml" for part in PARTS[role]]
    assert [name for name in files if not (folder / name).is_file()] == []


@pytest.mark.parametrize("role", ROLES)
def test_role_is_small(role: str) -> None:
    lines = sum(
        len(path.read_text(encoding="utf-8").splitlines())
        for part in ("tasks", "handlers", "vars", "templates")
        for path in (ROOT / "roles" / role / part).glob("*")
    )
    assert lines <= 620, f"{lines} lines: this is two roles"


@pytest.mark.parametrize("role", ROLES)
def test_every_failing_assert_has_a_code_in_both_languages(role: str) -> None:
    for task in load(ROOT / "roles" / role / "tasks/preflight.yml"):
        if check := task.get("ansible.builtin.assert"):
            assert re.match(r"\[COSY-[A-Z]+-[A-Z-]+\] ", check["fail_msg"]), task["name"]
            assert re.search("[一-龥]", check["fail_msg"]), task["name"]


# `layout` is the one role that is about groups.
@pytest.mark.parametrize("role", [role for role in ROLES if role != "layout"])
def test_role_knows_no_group_and_no_fact_by_old_name(role: str) -> None:
    for path in (ROOT / "roles" / role).rglob("*.yml"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\bgroups\b|\bgroup_names\b", text), path
        assert not re.search(r"\bansible_(distribution|os_family|hostname)\b", text), path
