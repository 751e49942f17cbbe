"""What is refused as a volume or a store: devices are files here, which blkid reads alike."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.roles.conftest import ansible

VOLUME = {"service_store_url": "file:///srv/cosyhost"}


def look(**values: object) -> subprocess.CompletedProcess[str]:
    """The preflight of role `volume`, and of the service's store."""
    given = json.dumps((VOLUME if values.get("volume_what") else {}) | values)
    return ansible("ansible-playbook", "-i", "localhost,", "-e", given, "tests/roles/volume.yml")


def refusal(run: subprocess.CompletedProcess[str], code: str) -> str:
    assert run.returncode == 2, run.stdout + run.stderr
    assert f"[{code}]" in run.stdout, run.stdout
    return " ".join(run.stdout.split())


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """An empty disk of 8 MB."""
    path = tmp_path / "disk"
    path.write_bytes(bytes(8 << 20))
    return path


def test_no_volume_and_a_share_are_not_looked_at() -> None:
    for what in ("", "nas.example:/export", "//nas/share"):
        run = look(volume_what=what, volume_type="nfs4")
        assert run.returncode == 0, run.stdout + run.stderr


def test_an_unformatted_disk_is_refused_with_the_command_and_left_alone(disk: Path) -> None:
    said = refusal(look(volume_what=str(disk)), "COSY-VOLUME-UNFORMATTED")
    assert f"mkfs.ext4 -L cosyhost {disk}" in said
    assert "不会格式化" in said
    assert disk.read_bytes() == bytes(8 << 20)


def test_a_disk_with_partitions_is_told_apart(disk: Path) -> None:
    table = bytearray(disk.read_bytes())
    table[446 + 4], table[446 + 12], table[510:512] = 0x83, 1, b"\x55\xaa"  # one MBR partition
    disk.write_bytes(table)
    assert "name one of its partitions" in refusal(
        look(volume_what=str(disk)), "COSY-VOLUME-UNFORMATTED"
    )


def test_a_disk_with_its_file_system_passes_and_another_type_is_named(disk: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", disk], check=True)
    assert look(volume_what=str(disk)).returncode == 0
    said = refusal(look(volume_what=str(disk), volume_type="xfs"), "COSY-VOLUME-TYPE")
    assert "carries ext4, not xfs" in said


def test_a_disk_that_is_not_there_is_refused(tmp_path: Path) -> None:
    refusal(look(volume_what=str(tmp_path / "none")), "COSY-VOLUME-MISSING")
    folder = {"volume_type": "none", "volume_options": "bind"}
    refusal(look(volume_what=str(tmp_path / "none"), **folder), "COSY-VOLUME-MISSING")
    assert look(volume_what=str(tmp_path), **folder).returncode == 0


@pytest.mark.parametrize(
    "values",
    [
        {"volume_what": "sdb"},
        {"volume_what": "/dev/a b"},
        {"volume_what": "//nas/share", "volume_options": "user=a,password=b"},
        {"volume_what": "/dev/sdb", "volume_type": "ext 4"},
    ],
)
def test_wrong_values_are_refused(values: dict[str, str]) -> None:
    refusal(look(**values), "COSY-VOLUME-VALUES")


@pytest.mark.parametrize(
    "values",
    [
        {"service_store_url": "/var/lib/cosyhost"},
        {"service_store_url": "gs://bucket"},
        {"service_store_url": "s3://bucket"},
        {"service_store_url": "s3://bucket", "service_store_key_id": "a"},
        {"service_store_endpoint": "minio:9000"},
    ],
)
def test_a_store_that_cannot_be_is_refused(values: dict[str, str]) -> None:
    said = refusal(look(**values), "COSY-STORE-VALUES")
    assert "ansible-vault" in said


def test_a_bucket_with_its_key_passes() -> None:
    run = look(
        service_store_url="s3://bucket/site",
        service_store_endpoint="https://minio.lan:9000",
        service_store_key_id="a",
        service_store_secret="b",
    )
    assert run.returncode == 0, run.stdout + run.stderr
