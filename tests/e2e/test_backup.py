"""A voice outlives its host: saved over SFTP, put back on a fresh machine, and it speaks there.

The repository lies on a third host, whose SSH server knows the backup's key and nothing else of us.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import prompts
from tests.e2e import voice
from tests.e2e.test_preflight import refusal
from tests.e2e.tier import BUILD, ROOT, Tier, changes, mark
from tests.testbed import Host, Testbed

FOLDER = "/srv/voices-backup"
RECORD = "/var/lib/cosyhost-backup/last.json"


@dataclass(frozen=True)
class Vault:
    """The host that has the repository, and what an inventory says to reach it."""

    host: Host
    inventory: Path

    def backing(self, tier: Tier) -> Tier:
        """The tier whose inventory names the repository."""
        return dataclasses.replace(tier, inventories=[*tier.inventories, self.inventory])


@pytest.fixture(scope="module")
def vault(
    bed: Testbed, lan: Tier, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Vault]:
    """A host with an account that only SFTP can use."""
    host = bed.up("voice-vault", suite=lan.host.suite)
    key = tmp_path_factory.mktemp("vault") / "key"
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "backup", "-f", str(key)]
    subprocess.run(make, check=True)
    host.run("useradd", "--create-home", "--shell", "/usr/sbin/nologin", "keeper")
    public = key.with_suffix(".pub").read_text(encoding="utf-8")
    host.put(f'restrict,command="internal-sftp" {public}', "/home/keeper/.ssh/authorized_keys")
    host.put("Match User keeper\n  ForceCommand internal-sftp\n", "/etc/ssh/sshd_config.d/k.conf")
    host.run("sh", "-ec", f"chown -R keeper /home/keeper; install -d -o keeper {FOLDER}")
    host.run("sh", "-ec", "systemctl reload ssh || systemctl reload ssh.socket || true")
    server = host.run("sh", "-c", "cat /etc/ssh/ssh_host_*_key.pub").stdout.splitlines()
    known = "\n".join(f"{host.ip} {' '.join(line.split()[:2])}" for line in server)
    values = {
        "backup_repository": f"sftp:keeper@{host.ip}:{FOLDER}/tier",
        "backup_ssh_key": key.read_text(encoding="utf-8"),
        "backup_ssh_known_hosts": known,
    }
    inventory = BUILD / "vault.yml"
    inventory.write_text(json.dumps({"all": {"hosts": {lan.host.name: values}}}), encoding="utf-8")
    yield Vault(host, inventory)
    if not pytestconfig.getoption("--keep-hosts"):
        host.down()


@pytest.fixture(scope="module")
def fresh(
    bed: Testbed, lan: Tier, vault: Vault, control: Path, pytestconfig: pytest.Config
) -> Iterator[Tier]:
    """A bare host in the place of the lan tier's, as after a fire."""
    host = bed.up("voice-anew", suite=lan.host.suite)
    folder = BUILD / "anew"
    folder.mkdir(parents=True, exist_ok=True)
    extra = {host.name: {"service_build": str(folder / "wheel")}}
    inventory = folder / "hosts.yml"
    own = bed.inventory_yaml(extra, names=[host.name]).replace(f"{host.name}:", f"{lan.host.name}:")
    inventory.write_text(own, encoding="utf-8")
    inventories = [ROOT / "inventories/lan", inventory, vault.inventory]
    yield Tier("anew", host, inventories, control, f"http://{host.ip}")
    if not pytestconfig.getoption("--keep-hosts"):
        host.down()


@pytest.fixture(scope="module")
def backed(lan: Tier, vault: Vault) -> Tier:
    """The lan tier with a repository."""
    return vault.backing(lan)


def sums(tier: Tier) -> dict[str, str]:
    """SHA-256 of every file of the voice store, by path."""
    find = "find /var/lib/cosyhost/voices -type f -exec sha256sum {} +"
    lines = tier.host.run("sh", "-c", find).stdout.splitlines()
    return {path: digest for digest, path in (line.split(maxsplit=1) for line in lines)}


def touched(tier: Tier) -> list[str]:
    """What was changed since `mark` and is not the running service's own."""
    ours = ("/etc/", "/opt/", "/usr/", "/var/lib/cosyhost-backup", "/var/lib/dpkg")
    return [path for path in changes(tier.host) if path.startswith(ours)]


def voices(tier: Tier) -> list[str]:
    """The names that the API lists."""
    with tier.client() as client:
        listed: list[str] = client.get("/v1/audio/voices").json()["voices"]
    return listed


def give(tier: Tier, name: str, audio: bytes) -> None:
    """Store a voice as a user does."""
    with tier.client() as client:
        made = client.post(
            "/v1/audio/voices",
            data={"name": name, "ref_text": prompts.TRANSCRIPT},
            files={"audio_sample": ("prompt.wav", audio)},
        )
    assert made.status_code in (200, 409), made.text  # 409: hosts that were kept have it


def test_without_a_repository_both_playbooks_say_how_to_have_one(lan: Tier) -> None:
    for playbook in ("backup", "restore"):
        said = refusal(lan.play(playbook), "COSY-BACKUP-OFF")
        assert "backup_repository" in said
        assert "未设置备份" in said


def test_a_wrong_value_is_refused_before_anything_changes(backed: Tier, vault: Vault) -> None:
    mark(backed.host)
    for values, code in (
        ({"backup_repository": "voices"}, "COSY-BACKUP-REPOSITORY"),
        ({"backup_password": "short"}, "COSY-BACKUP-NO-PASSWORD"),
        ({"backup_ssh_known_hosts": ""}, "COSY-BACKUP-VALUES"),
    ):
        refusal(backed.play("preflight", "-e", json.dumps(values)), code)
    assert touched(backed) == []


def test_site_sets_it_up_and_changes_nothing_the_second_time(backed: Tier, vault: Vault) -> None:
    mark(backed.host)
    only = ("--tags", "backup")
    check = backed.play("site", "--check")
    assert check.rc == 0, check.tail
    assert touched(backed) == []
    backed.provision()
    again = backed.provision(*only)
    assert again.recap(backed.host.name)["changed"] == 0, again.tail
    made = vault.host.run("ls", f"{FOLDER}/tier").stdout.split()
    assert "snapshots" in made


def test_a_backup_holds_what_users_gave_and_tells_of_it(
    backed: Tier, vault: Vault, prompt: bytes
) -> None:
    give(backed, "outlives the fire", prompt)
    run = backed.play("backup")
    assert run.rc == 0, run.tail
    assert "快照" in run.said
    record = json.loads(backed.host.run("cat", RECORD).stdout)
    assert record["snapshot"] in run.said
    assert (record["problem"], record["files"] > len(sums(backed))) == ("", True)
    audit = backed.audit("-k", "backup or units or storage")
    assert audit.rc == 0, audit.tail
    rows = re.findall(r"^\w+ +(BACKUP-\w+) .* (\w+)$", audit.output, re.M)
    assert rows == [("BACKUP-FRESH", "ok"), ("BACKUP-PROVED", "ok")]
    url = "http://127.0.0.1:7861/metrics"
    ask = f"from urllib.request import urlopen; print(urlopen('{url}').read().decode())"
    told = backed.host.run("python3", "-c", ask).stdout
    assert f"cosyhost_backup_files {record['files']}" in told
    assert "cosyhost_backup_last_success_timestamp_seconds 1" in told
    # Encrypted: neither a name nor a sound is found on the other host.
    find = f"grep -rlaE 'outlives|RIFF' {FOLDER} || true"
    assert vault.host.run("sh", "-c", find).stdout == ""


def test_no_process_and_no_unit_shows_the_password(backed: Tier, vault: Vault) -> None:
    watch = (
        "P=/etc/cosyhost/credentials; systemctl start --no-block cosyhost-backup; i=0; "
        "while [ $i -lt 40 ]; do i=$((i+1)); "
        "for f in backup_password backup_repository; do "
        "grep -lsaFf $P/$f /proc/[0-9]*/environ /proc/[0-9]*/cmdline; done; sleep 0.1; done; "
        "journalctl --namespace=+cosyhost --no-pager -u cosyhost-backup | "
        "grep -cFf $P/backup_password"
    )
    assert backed.host.run("sh", "-c", watch, check=False).stdout.split() == ["0"]
    backed.play("backup")  # waits for it


def test_a_fresh_host_gets_its_voices_back_and_they_speak(
    backed: Tier, fresh: Tier, vault: Vault
) -> None:
    saved = sums(backed)
    fresh.provision()
    assert voices(fresh) == []
    samples, rate = prompts.samples()
    give(fresh, "made before the restore", prompts.wav(samples[::-1], rate))
    before = sums(fresh)

    check = fresh.play("restore", "--check")
    assert check.rc == 0, check.tail
    assert "would be put" in check.said
    assert sums(fresh) == before

    run = fresh.play("restore")
    assert run.rc == 0, run.tail
    assert sums(fresh) == saved | before
    assert {"outlives the fire", "made before the restore"} <= set(voices(fresh))
    with fresh.client() as client:
        answer = client.post(
            "/v1/audio/speech", json={"input": voice.TEXT, "voice": "outlives the fire"}
        )
    assert answer.status_code == 200, answer.text
    assert voice.plausible(voice.seconds(answer.content), len(voice.TEXT))
    owners = "find /var/lib/cosyhost/voices -printf '%u\\n' | sort -u"
    assert fresh.host.run("sh", "-c", owners).stdout == "cosyhost\n"

    again = fresh.play("restore")
    assert again.rc == 0, again.tail
    assert again.recap(backed.host.name)["changed"] == 0, again.tail
    audit = fresh.audit("-k", "storage")
    assert audit.rc == 0, audit.tail


def _lose(tier: Tier) -> str:
    """Something for a restore to bring."""
    names = "/var/lib/cosyhost/voices/names"
    (first,) = tier.host.run("sh", "-c", f"ls {names} | head -n 1").stdout.split()
    tier.host.run("mv", f"{names}/{first}", "/root/lost.json")
    return f"{names}/{first}"


@pytest.fixture
def lost(fresh: Tier) -> Iterator[dict[str, str]]:
    """A host that lacks a voice; what it has otherwise must stay."""
    place = _lose(fresh)
    before = sums(fresh)
    yield before
    assert sums(fresh) == before
    fresh.host.run("mv", "/root/lost.json", place)


def test_a_wrong_password_is_refused(fresh: Tier, vault: Vault, lost: dict[str, str]) -> None:
    good = fresh.host.run("cat", "/etc/cosyhost/credentials/backup_password").stdout
    wrong = ("-e", "backup_password=this-is-not-it-at-all")
    said = refusal(fresh.play("site", *wrong, "--tags", "backup"), "COSY-BACKUP-PASSWORD")
    assert "secrets/backup_password.txt" in said
    said = refusal(fresh.play("restore"), "COSY-BACKUP-PASSWORD")
    assert "不接受 backup_password" in said
    run = fresh.play("site", "--tags", "backup")
    assert run.rc == 0, run.tail
    assert fresh.host.run("cat", "/etc/cosyhost/credentials/backup_password").stdout == good


def test_a_snapshot_that_is_not_there_is_refused_with_those_that_are(
    fresh: Tier, vault: Vault, lost: dict[str, str]
) -> None:
    for wanted in ("restore_host=voice-other", "restore_snapshot=00000000"):
        run = fresh.play("restore", "-e", wanted)
        said = refusal(run, "COSY-BACKUP-NO-SNAPSHOT")
        assert "(voice-lan, " in said


def test_a_repository_that_is_gone_is_not_made_anew_behind_ones_back(
    fresh: Tier, vault: Vault, lost: dict[str, str]
) -> None:
    vault.host.run("mv", f"{FOLDER}/tier", f"{FOLDER}/elsewhere")
    refusal(fresh.play("restore"), "COSY-BACKUP-NO-REPOSITORY")
    said = refusal(fresh.play("backup"), "COSY-BACKUP-NO-REPOSITORY")
    assert "journalctl --namespace=+cosyhost -u cosyhost-backup" in said
    assert not vault.host.run("ls", f"{FOLDER}/tier", check=False).stdout
    vault.host.run("mv", f"{FOLDER}/elsewhere", f"{FOLDER}/tier")


def test_a_server_that_shows_another_key_or_none_is_not_trusted(
    fresh: Tier, vault: Vault, lost: dict[str, str]
) -> None:
    known = "/etc/cosyhost/credentials/backup_known_hosts"
    fresh.host.run("cp", known, "/root/known")
    other = hashlib.sha256(b"another").hexdigest()
    fresh.host.run("sh", "-c", f"chmod 600 {known}; echo '{vault.host.ip} {other}' >{known}")
    said = refusal(fresh.play("restore"), "COSY-BACKUP-UNREACHABLE")
    # ssh's two sentences about it; the last that restic got to hear is passed on.
    assert re.search("Host key verification failed|No .* host key is known", said)
    fresh.host.run("sh", "-c", f"cp /root/known {known}; chmod 400 {known}")
    vault.host.kill()
    refusal(fresh.play("restore"), "COSY-BACKUP-UNREACHABLE")
    vault.host.power_on()


def test_spoilt_data_is_refused_before_anything_is_put_back(
    fresh: Tier, vault: Vault, lost: dict[str, str]
) -> None:
    spoil = (
        f"cp -a {FOLDER}/tier {FOLDER}/good; cd {FOLDER}/tier/data; for f in */*; do "
        'chmod u+w "$f"; size=$(stat -c %s "$f"); head -c "$size" /dev/zero >"$f"; done'
    )
    vault.host.run("sh", "-ec", spoil)
    fresh.host.run("rm", "-rf", "/var/cache/cosyhost-backup")
    said = refusal(fresh.play("restore"), "COSY-BACKUP-BROKEN")
    assert "restic check --read-data" in said
    assert fresh.host.run("ls", "/var/lib/cosyhost/.restore", check=False).stdout == ""
    vault.host.run("sh", "-ec", f"rm -rf {FOLDER}/tier; mv {FOLDER}/good {FOLDER}/tier")


def test_what_was_lost_comes_back_over_another_name_too(fresh: Tier, vault: Vault) -> None:
    before = sums(fresh)
    place = _lose(fresh)
    run = fresh.play("restore", "-e", "restore_host=voice-lan")
    assert run.rc == 0, run.tail
    assert sums(fresh) == before
    assert place in before


def test_switched_off_it_leaves_the_host_and_not_the_repository(lan: Tier, vault: Vault) -> None:
    run = lan.provision("--tags", "backup")
    assert run.recap(lan.host.name)["changed"] > 0
    left = lan.host.run(
        "sh", "-c", "ls -d /etc/systemd/system/*backup* /etc/cosyhost/*backup* "
        "/etc/cosyhost/credentials/*backup* /var/lib/cosyhost-backup /opt/cosyhost/backup "
        "2>/dev/null || true",
    )  # fmt: skip
    assert left.stdout == ""
    assert "snapshots" in vault.host.run("ls", f"{FOLDER}/tier").stdout
    again = lan.play("site", "--tags", "backup")
    assert again.recap(lan.host.name)["changed"] == 0, again.tail
