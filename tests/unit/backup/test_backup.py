"""The role's own program with a real restic: saved, looked after, put back, and refused."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from roles.backup.files import backup
from tests.debs import program


@dataclass(frozen=True)
class Place:
    """A host's folders below one of this machine's, and a repository beside them."""

    root: Path
    voices: Path
    repository: Path
    settings: backup.Settings

    def give(self, name: str, sound: bytes = b"RIFF a sound") -> str:
        """A voice as the library keeps it; returns its prompt's SHA-256."""
        sha256 = hashlib.sha256(sound).hexdigest()
        for folder in ("names", "prompts"):
            (self.voices / folder).mkdir(parents=True, exist_ok=True)
        (self.voices / f"prompts/{sha256}.wav").write_bytes(sound)
        voice = {"name": name, "prompt": sha256}
        (self.voices / f"names/{name}.json").write_text(json.dumps(voice), encoding="utf-8")
        return sha256

    def credential(self, name: str, value: str) -> None:
        """Write one."""
        (self.root / "credentials").mkdir(exist_ok=True)
        (self.root / "credentials" / name).write_text(value, encoding="utf-8")

    def files(self) -> dict[str, bytes]:
        """What the voices' folder holds."""
        found = (path for path in self.voices.rglob("*") if path.is_file())
        return {str(path.relative_to(self.voices)): path.read_bytes() for path in found}

    def record(self) -> dict[str, object]:
        """The last run's."""
        read: dict[str, object] = json.loads((self.root / "state/last.json").read_text())
        return read

    def restore(
        self, host: str = "a", wanted: str = "latest", *, dry: bool = False
    ) -> backup.Restored:
        """Put back what lacks."""
        return backup.restore(self.settings, host, wanted, dry=dry, configuration=False)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One path for all hosts, since a snapshot knows where it was made."""
    return tmp_path_factory.mktemp("backup") / "host"


@pytest.fixture
def place(home: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A bare host."""
    shutil.rmtree(home, ignore_errors=True)
    voices = home / "lib/voices"
    voices.mkdir(parents=True)
    (home / "etc").mkdir()
    (home / "etc/cosyhost.toml").write_text("tier = 'lan'\n")
    for name, folder in {
        "CREDENTIALS": "credentials", "STATE": "state", "CACHE": "cache", "STAGE": "lib/.restore",
        "RELEASE": "current", "CONFIGURATION": "etc",
    }.items():  # fmt: skip
        monkeypatch.setattr(backup, name, home / folder)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    restic = program("restic", "restic")
    monkeypatch.setenv("PATH", f"{restic.parent}:{os.environ['PATH']}")
    keep = {"daily": 7, "weekly": 8}
    settings = backup.Settings("a", [str(voices), str(home / "lib/keys")], True, 86400, keep)
    made = Place(home, voices, home / "repository", settings)
    made.credential("backup_repository", str(made.repository))
    made.credential("backup_password", "a password of some length")
    made.credential("backup_environment", "{}")
    return made


@pytest.fixture
def saved(place: Place) -> Place:
    """The same, with two voices in a snapshot, and a repository that was just looked after."""
    backup.Record(86400, checked=time.time()).write()
    kept = place.root.with_name("kept")  # restic's key costs a second of work each time
    if kept.exists():
        shutil.rmtree(place.root)
        shutil.copytree(kept, place.root)
        return place
    place.give("anna")
    place.give("bert", b"RIFF another")
    backup.Repository().make()
    backup.run(place.settings)
    shutil.copytree(place.root, kept)
    return place


def test_what_was_lost_comes_back_and_nothing_else_changes(saved: Place) -> None:
    before = saved.files()
    shutil.rmtree(saved.voices)
    saved.voices.mkdir()
    saved.give("carl", b"RIFF made since")
    own = saved.files()
    dry = saved.restore(dry=True)
    assert (dry.placed, saved.files()) == (4, own)
    done = saved.restore()
    assert (done.placed, done.there, done.left_out) == (4, 0, [])
    assert done.bytes == dry.bytes
    assert saved.files() == before | own
    assert not (saved.root / "lib/.restore").exists()
    again = saved.restore()
    assert (again.placed, again.there) == (0, 4)


def test_what_the_host_has_stays_whatever_the_snapshot_says(saved: Place) -> None:
    (saved.voices / "names/anna.json").write_text('{"name": "Anna", "prompt": "newer"}')
    (saved.voices / "names/bert.json").unlink()
    assert saved.restore().placed == 1
    assert b"newer" in saved.files()["names/anna.json"]


def test_a_prompt_that_a_voice_waits_for_is_young_again(saved: Place) -> None:
    """Or the library's sweep could take it between the two."""
    for path in saved.voices.rglob("*.wav"):
        os.utime(path, (0, 0))
    (saved.voices / "names/bert.json").unlink()
    saved.restore()
    assert all(path.stat().st_mtime > 1 for path in saved.voices.rglob("*.wav"))


def test_what_was_spoilt_before_it_was_saved_is_left_out_with_its_voice(saved: Place) -> None:
    spoilt = saved.give("dora", b"RIFF good")
    (saved.voices / f"prompts/{spoilt}.wav").write_bytes(b"RIFF bad")
    backup.run(saved.settings)
    shutil.rmtree(saved.voices)
    done = saved.restore()
    assert done.placed == 4
    assert [spoilt in line or "dora" in line for line in done.left_out] == [True, True]
    assert "names/anna.json" in saved.files()
    assert "names/dora.json" not in saved.files()


def test_a_bare_host_leaves_no_empty_snapshot_behind(saved: Place) -> None:
    shutil.rmtree(saved.voices)
    saved.voices.mkdir()
    record = backup.run(saved.settings)
    assert (record.snapshot, record.problem) == ("", "")
    assert record.ended
    assert saved.restore(dry=True).placed == 4


def test_a_line_in_the_list_of_paths_is_all_that_keys_need(saved: Place) -> None:
    keys = saved.root / "lib/keys"
    keys.mkdir()
    (keys / "one.json").write_text("{}")
    backup.run(saved.settings)
    shutil.rmtree(keys)
    assert saved.restore().placed == 1
    assert (keys / "one.json").read_text() == "{}"


def test_the_configuration_is_laid_out_for_reading(saved: Place) -> None:
    (saved.root / "current/config").mkdir(parents=True)
    (saved.root / "current/config/cosyhost-web.service").write_text("[Unit]\n")
    backup.run(saved.settings)
    done = backup.restore(saved.settings, "a", "latest", dry=False, configuration=True)
    found = [path.name for path in Path(done.configuration).rglob("*") if path.is_file()]
    assert sorted(found) == ["cosyhost-web.service", "cosyhost.toml"]
    assert Path(done.configuration).stat().st_mode & 0o777 == 0o700


def test_the_record_says_how_it_went(saved: Place) -> None:
    good = saved.record()
    assert (good["files"], good["new_files"], good["problem"]) == (5, 5, "")
    saved.give("emil", b"RIFF more")
    saved.credential("backup_password", "another password")
    with pytest.raises(backup.Failure):
        backup.run(saved.settings)
    bad = saved.record()
    assert str(bad["problem"]).startswith("[COSY-BACKUP-PASSWORD]")
    assert bad["ended"] == good["ended"]


def test_old_snapshots_go_and_the_data_is_read_when_it_is_time(saved: Place) -> None:
    saved.give("emil", b"RIFF more")
    backup.run(saved.settings)
    known = backup.Record.read(86400)
    known.checked = 1.0
    known.write()
    backup.run(saved.settings)
    assert backup.Record.read(86400).checked != 1.0
    said = backup.Repository().must("snapshots", "--json")
    assert len(json.loads(said.out)) == 1, "one a day is kept"


def spoil_password(place: Place) -> None:
    place.credential("backup_password", "another password")


def lose_repository(place: Place) -> None:
    shutil.rmtree(place.repository)


def empty_repository(place: Place) -> None:
    shutil.rmtree(place.repository)
    backup.Repository().make()


def cut_line(place: Place) -> None:
    place.credential("backup_repository", "rest:http://127.0.0.1:9/a")


def spoil_data(place: Place) -> None:
    for pack in (place.repository / "data").rglob("*"):
        if pack.is_file():
            size = pack.stat().st_size
            pack.chmod(0o600)
            pack.write_bytes(bytes(size))
    shutil.rmtree(place.root / "cache")


REFUSALS = {
    "PASSWORD": spoil_password,
    "NO-REPOSITORY": lose_repository,
    "NO-SNAPSHOT": empty_repository,
    "UNREACHABLE": cut_line,
    "BROKEN": spoil_data,
}


@pytest.mark.parametrize("code", REFUSALS)
def test_what_cannot_be_restored_is_said_and_costs_nothing(
    saved: Place, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if code == "UNREACHABLE":
        monkeypatch.setattr(backup, "PATIENCE_S", 3)
    REFUSALS[code](saved)
    (saved.voices / "names/bert.json").unlink()
    before = saved.files()
    with pytest.raises(backup.Failure, match=rf"\[COSY-BACKUP-{code}\]") as refused:
        saved.restore()
    assert re.search("[一-龥]", str(refused.value))
    assert "a password of some length" not in str(refused.value)
    assert saved.files() == before
    assert not (saved.root / "lib/.restore").exists()


def test_a_snapshot_of_another_host_is_found_by_its_name_or_id(saved: Place) -> None:
    with pytest.raises(backup.Failure, match=r"there are: [0-9a-f]{8} .a, ") as refused:
        saved.restore("b")
    (known,) = re.findall(r"are: ([0-9a-f]{8})", str(refused.value))
    assert saved.restore("b", known[:6], dry=True).host == "a"
    with pytest.raises(backup.Failure, match="NO-SNAPSHOT"):
        saved.restore("a", "ffffffff")


def test_only_a_lost_repository_is_made_anew_and_only_when_asked(saved: Place) -> None:
    assert not backup.Repository().make()
    spoil_password(saved)
    with pytest.raises(backup.Failure, match="PASSWORD"):
        backup.Repository().make()
    lose_repository(saved)
    with pytest.raises(backup.Failure, match="NO-REPOSITORY"):
        backup.run(saved.settings)
    assert not saved.repository.exists()
    assert backup.Repository().make()


@pytest.mark.parametrize(
    ("address", "ends"),
    [
        ("sftp:backup@nas:/srv/a", "backup@nas -s sftp"),
        ("sftp://backup@nas:2222//srv/a", "backup@nas -p2222 -s sftp"),
        ("sftp://[fd00::1]:22//srv/a", "fd00::1 -p22 -s sftp"),
    ],
)
def test_ssh_gets_the_services_own_key_and_known_hosts(address: str, ends: str) -> None:
    command = " ".join(backup._ssh(address, Path("/run/c")))
    assert command.startswith("ssh -F none -i /run/c/backup_ssh_key ")
    assert "UserKnownHostsFile=/run/c/backup_known_hosts" in command
    assert command.endswith(ends)
    assert "," not in command  # restic splits its options there


def test_where_ssh_ended_its_own_words_are_told() -> None:
    err = (
        "subprocess ssh: Host key verification failed.\r\n"
        "Fatal: unable to open repository: unable to start the sftp session, error: EOF\n"
    )
    assert backup.Said(1, "", err).last == "ssh: Host key verification failed."
    assert backup.Said(1, "", "waiting\nFatal: it is full\n").last == "it is full"


def test_ssh_is_asked_itself_where_restic_ended_before_it_told(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / "bin/ssh"  # of a server that shows another key
    ssh.parent.mkdir()
    ssh.write_text("#!/bin/sh\necho 'Host key verification failed.' >&2\nexit 255\n", "utf-8")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    place.credential("backup_repository", "sftp:backup@nas:/srv/a")
    repository = backup.Repository()
    late = "Fatal: unable to open repository: unable to start the sftp session, error: EOF\n"
    assert backup.Said(1, "", repository._why(late)).last == "ssh: Host key verification failed."
    told = f"subprocess ssh: it told\n{late}"
    assert repository._why(told) == told
    assert repository._why("Fatal: it is full\n") == "Fatal: it is full\n"


def test_an_address_is_shown_without_its_password(place: Place) -> None:
    place.credential("backup_repository", "rest:https://u:secret@nas/a")
    assert backup.Repository().shown == "rest:https://u:***@nas/a"
