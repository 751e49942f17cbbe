"""Backups: there is one, it is young, and its repository was proved."""

from __future__ import annotations

import json
from typing import Any

import pytest
from testinfra.host import Host

RECORD = "/var/lib/cosyhost-backup/last.json"
CHECKED_WITHIN_S = 3 * 7 * 86400

pytestmark = pytest.mark.group("web")


@pytest.fixture(scope="session")
def record(host: Host, values: dict[str, Any]) -> dict[str, Any]:
    """What the last backup left, and its age."""
    if not values["backup_repository"]:
        none = "no backup is set up: backup_repository in group_vars/all/backup.yml, docs/backup.md"
        if values["service_tier"] == "production":
            pytest.fail(none)
        pytest.skip(none)
    said = host.run(f"date +%s; cat {RECORD}")
    if said.rc:
        pytest.fail(f"{RECORD} is not there: the repository was never proved, run site.yml")
    now, _, document = said.stdout.partition("\n")
    read: dict[str, Any] = json.loads(document) | {"now": int(now)}
    return read


@pytest.mark.control(
    "BACKUP-FRESH",
    "storage",
    why="a voice that was given once is not given again",
    zh="给过一次的声音不会再给一次",
)
def test_a_backup_went_well_within_two_periods(host: Host, record: dict[str, Any]) -> None:
    timer = host.run("systemctl is-active cosyhost-backup.timer").stdout.strip()
    assert timer == "active", f"cosyhost-backup.timer is {timer}"
    assert not record["problem"], record["problem"]
    if record["ended"] is None:
        pytest.skip("the first backup is still to come, 15 minutes after the host's start")
    hours = (record["now"] - record["ended"]) / 3600
    assert hours * 3600 <= 2 * record["period_s"], f"the last one is {hours:.0f} h old"


@pytest.mark.control(
    "BACKUP-PROVED",
    "storage",
    why="a backup that can't be read is found when it is needed",
    zh="读不出的备份要在需要它之前发现",
)
def test_the_repository_was_proved_lately(record: dict[str, Any]) -> None:
    if record["ended"] is None:
        pytest.skip("the first backup is still to come, 15 minutes after the host's start")
    assert record["checked"], "its data was never read"
    days = (record["now"] - record["checked"]) / 86400
    assert days * 86400 <= CHECKED_WITHIN_S, f"restic check last went well {days:.0f} days ago"
