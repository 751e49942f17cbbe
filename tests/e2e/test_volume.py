"""Voices and outputs on a volume of their own: filled, unmounted, missing; then in a bucket.

The volume is a tmpfs of a fixed size on the host, bound to its place by the role's own mount unit:
the testbed's hosts have no loop devices. It is a real file system that is really full.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests import prompts, s3
from tests.e2e import voice
from tests.e2e.test_audit_finds import failed
from tests.e2e.test_preflight import refusal
from tests.e2e.tier import BUILD, ROOT, Run, Tier, changes, mark
from tests.testbed import Host, Testbed

SIZE_MB, REFUSE_MB, KEEP_FREE_MB = 112, 24, 60
PORT = 9123
PLACE, DISK, MOUNT = "/srv/cosyhost", "/mnt/disk", "srv-cosyhost.mount"
UNITS = ("cosyhost-web", "cosyhost-worker@0")


@dataclass(frozen=True)
class Site:
    """A tier whose host has a second, small disk; what site.yml is told."""

    tier: Tier
    values: dict[str, object]

    @property
    def host(self) -> Host:
        return self.tier.host

    def play(self, playbook: str, *arguments: str, **values: object) -> Run:
        given = json.dumps(self.values | values)
        return self.tier.play(playbook, "-e", given, *arguments)

    def main_pids(self) -> list[str]:
        """Of the processes that must live through all of it."""
        said = self.host.run("systemctl", "show", "--value", "--property=MainPID", *UNITS)
        return said.stdout.split()

    def beneath(self) -> str:
        """Mode, owner and content of the place while nothing is mounted there."""
        look = f"mountpoint --quiet {PLACE} || (cd {PLACE}; stat --format='%a %U' .; ls -A)"
        return self.host.run("sh", "-c", look).stdout.strip()


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait as long as it takes on a busy machine, but not for ever."""
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def site(bed: Testbed, control: Path, pytestconfig: pytest.Config) -> Iterator[Site]:
    """A bare host with a disk, and a tier on it."""
    same = pytestconfig.getoption("--same-hosts")
    host = bed.host("ae-volume") if same else bed.up("ae-volume", suite="trixie")
    if not same:
        host.run("mkdir", DISK)
        host.run("mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=0755", "disk", DISK)
    BUILD.mkdir(parents=True, exist_ok=True)
    inventory = BUILD / "volume.yml"
    own = bed.inventory_yaml(names=[host.name]).replace("ae-volume:", "voice-demo:")
    inventory.write_text(own, encoding="utf-8")
    tier = Tier("volume", host, [ROOT / "inventories/demo", inventory], control)
    tier.url = f"http://{host.ip}"
    values: dict[str, object] = {
        "service_build": str(BUILD / "volume/wheel"),
        "edge_netcheck_url": "",
        "edge_api_requests_per_second": 100,
        "prometheus_enabled": False,
        "alertmanager_enabled": False,
        "probes_blackbox_enabled": False,
        "volume_what": DISK,
        "volume_type": "none",
        "volume_options": "bind,nodev,nosuid,noexec",
        "base_data_free_min_bytes": 1,
        "service_refuse_below_bytes": REFUSE_MB << 20,
        "service_retention_min_free_bytes": KEEP_FREE_MB << 20,
    }
    yield Site(tier, values)
    if not pytestconfig.getoption("--keep-hosts"):
        host.down()


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    """A user."""
    with site.tier.client() as found:
        yield found


def store_of(client: httpx.Client) -> tuple[int, str]:
    """What /readyz says: its status, and of the store."""
    report = client.get("/readyz")
    return report.status_code, report.json().get("store", "")


def is_ready(client: httpx.Client) -> bool:
    """Whether the service can be used; nginx may be alone."""
    return client.get("/readyz").status_code == 200


def asked(client: httpx.Client, text: str = voice.TEXT) -> httpx.Response:
    """A job in the stored voice."""
    return client.post("/v1/jobs", json={"input": text, "voice": "Alice"})


def state(client: httpx.Client, job: str) -> str:
    """Where the job stands."""
    found: str = client.get(f"/v1/jobs/{job}").json()["state"]
    return found


def spoken(client: httpx.Client, job: str) -> None:
    """Wait for the job, which must succeed."""
    eventually(lambda: state(client, job) in ("done", "failed"), "end of the job")
    assert state(client, job) == "done", client.get(f"/v1/jobs/{job}").text


def keep_alice(client: httpx.Client) -> None:
    """Store the voice."""
    made = client.post(
        "/v1/audio/voices",
        data={"name": "Alice", "ref_text": prompts.TRANSCRIPT},
        files={"audio_sample": ("prompt.wav", prompts.good())},
    )
    assert made.status_code == 200, made.text


def test_a_check_run_changes_nothing(site: Site) -> None:
    mark(site.host)
    run = site.play("site", "--check")
    assert run.rc == 0, run.tail
    assert changes(site.host) == []


def test_one_run_puts_the_store_on_the_volume_and_a_second_changes_nothing(
    site: Site, client: httpx.Client
) -> None:
    run = site.play("site")
    assert run.rc == 0, run.tail
    keep_alice(client)
    assert len(site.host.run("ls", f"{DISK}/voices/names").stdout.split()) == 1
    run = site.play("site")
    assert run.rc == 0, run.tail
    assert run.recap("voice-demo")["changed"] == 0, run.tail


def audit(site: Site, *arguments: str) -> Run:
    """The audit of an inventory that says what site.yml was told."""
    beside = BUILD / "volume-values.yml"
    beside.write_text(json.dumps({"all": {"hosts": {"voice-demo": site.values}}}), encoding="utf-8")
    told = Tier("volume", site.host, [*site.tier.inventories, beside], site.tier.control)
    return told.audit(*arguments)


def test_the_audit_knows_the_volume(site: Site) -> None:
    run = audit(site, "-k", "storage")
    assert run.rc == 0, run.tail
    assert "STORE-VOLUME" in run.output
    site.host.run("systemctl", "disable", MOUNT)
    run = audit(site, "-k", "storage")
    assert failed(run) == {"STORE-VOLUME"}, run.tail
    site.host.run("systemctl", "enable", MOUNT)


def test_a_volume_filled_by_jobs_is_507_and_serves_again_by_itself(
    site: Site, client: httpx.Client
) -> None:
    before, done = site.main_pids(), []
    while (answer := asked(client, voice.LONG_TEXT)).status_code == 202:
        job = answer.json()["id"]
        spoken(client, job)
        done.append(job)
        assert len(done) < 60, "the volume does not fill"
    assert len(done) > 1
    said = answer.json()
    assert (answer.status_code, said["code"]) == (507, "storage_full")
    assert answer.headers["retry-after"]
    assert said["detail"] == "The service has no room left for new outputs."
    assert "存储空间已满" in said["detail_zh"]
    assert said["hint"]
    # Nothing crashed, and what is there can be had.
    assert site.main_pids() == before
    assert client.get("/healthz").status_code == client.get("/").status_code == 200
    assert client.get("/v1/audio/voices").json()["voices"] == ["Alice"]
    part = client.get(f"/v1/jobs/{done[0]}/audio", headers={"Range": "bytes=0-99"})
    assert (part.status_code, len(part.content)) == (206, 100)

    # The outputs become older than what retention lets listeners finish: then it makes room, asked
    # for by the refusals alone.
    for age_min, job in enumerate(reversed(done), 60):
        file = f"{DISK}/outputs/{job}.wav"
        site.host.run("touch", f"--date={age_min} minutes ago", file)
    eventually(lambda: asked(client).status_code == 202, "room")
    free = site.host.run("df", "--block-size=1", "--output=avail", DISK).stdout.split()[1]
    assert int(free) >= KEEP_FREE_MB << 20
    assert site.main_pids() == before
    assert client.get(f"/v1/jobs/{done[0]}/audio").json()["code"] == "output_gone"
    eventually(lambda: is_ready(client), "service")
    assert voice.seconds(voice.speak(client, prompts.good()).content) > 1


def test_unmounted_while_it_runs_it_is_503_and_goes_on_when_it_is_back(
    site: Site, client: httpx.Client
) -> None:
    before = site.main_pids()
    site.host.run("umount", PLACE)
    for answer in (
        asked(client),
        client.get("/v1/audio/voices"),
        client.get("/v1/audio/voices/Alice/audio"),
        client.post("/v1/audio/speech", json=voice.request(prompts.good())),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert answer.json()["hint_zh"]
    assert store_of(client) == (503, "store_unavailable")
    assert client.get("/healthz").status_code == 200
    assert site.beneath() == "555 root"
    site.host.run("systemctl", "start", MOUNT)
    eventually(lambda: is_ready(client), "service")
    assert client.get("/v1/audio/voices").json()["voices"] == ["Alice"]
    assert asked(client).status_code == 202
    assert site.main_pids() == before


def test_a_job_that_runs_meanwhile_is_kept(site: Site, client: httpx.Client) -> None:
    job = asked(client, voice.LONG_TEXT).json()["id"]
    eventually(lambda: state(client, job) == "running", "begin")
    site.host.run("umount", "--lazy", PLACE)
    eventually(lambda: "the store:" in journal(site), "word about the store")
    site.host.run("systemctl", "start", MOUNT)
    spoken(client, job)
    assert client.get(f"/v1/jobs/{job}/audio").status_code == 200


def journal(site: Site) -> str:
    """The worker's last words."""
    said: str = site.host.run(
        "journalctl", "--namespace=cosyhost", "--no-pager", "--output=cat", "--lines=5",
        "--unit=cosyhost-worker@0",
    ).stdout  # fmt: skip
    return said


def test_nothing_starts_without_the_volume_and_all_starts_with_it(
    site: Site, client: httpx.Client
) -> None:
    """As after a boot on which the disk or the share was not there."""
    # A folder that is missing systemd would make; what is no folder cannot be bound.
    away = f"mkdir /mnt/away; mount --bind {DISK} /mnt/away; umount {PLACE} {DISK}; rmdir {DISK}"
    site.host.run("sh", "-ec", f"{away}; touch {DISK}")
    site.host.run("systemctl", "restart", "--no-block", *UNITS)
    eventually(lambda: site.main_pids() == ["0", "0"], "end of the processes")
    for _ in range(10):
        time.sleep(0.5)
        assert site.main_pids() == ["0", "0"]
    refused = site.host.run("systemctl", "start", "cosyhost-retention", check=False)
    assert refused.returncode != 0
    assert site.beneath() == "555 root"
    back = (
        f"rm {DISK}; mkdir {DISK}; mount --bind /mnt/away {DISK}; umount /mnt/away; rmdir /mnt/away"
    )
    site.host.run("sh", "-ec", back)
    eventually(lambda: is_ready(client), "service by itself")
    assert client.get("/v1/audio/voices").json()["voices"] == ["Alice"]


def test_after_a_reboot_it_is_mounted(site: Site, client: httpx.Client) -> None:
    """A tmpfs is empty then, as a disk that was replaced is: no voice is said to be gone."""
    site.host.reboot()
    eventually(lambda: site.host.run("mountpoint", PLACE, check=False).returncode == 0, "mount")
    eventually(lambda: store_of(client) == (503, "store_unavailable"), "word about the store")
    run = site.play("site")
    assert run.rc == 0, run.tail
    eventually(lambda: is_ready(client), "service")
    keep_alice(client)


@pytest.fixture(scope="module")
def bucket(bed: Testbed) -> Iterator[s3.Server]:
    """A real S3 server on this machine, which the host reaches over the bridge."""
    found = s3.Server(bed.settings.gateway, PORT)
    found.start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def on_s3(site: Site, bucket: s3.Server) -> dict[str, object]:
    """The values of the store in a bucket."""
    return {
        "volume_what": "",
        "service_store_url": f"s3://{s3.BUCKET}/site",
        "service_store_endpoint": bucket.endpoint,
        "service_store_key_id": s3.KEY_ID,
        "service_store_secret": s3.SECRET,
    }


def test_a_store_that_would_leave_voices_behind_is_refused(
    site: Site, on_s3: dict[str, object]
) -> None:
    said = refusal(site.play("site", **on_s3), "COSY-STORE-LEFT")
    assert f"1 in {PLACE}" in said
    site.host.run("mv", f"{DISK}/voices", f"{DISK}/voices.old")


def test_the_store_is_a_bucket_and_the_volume_is_let_go(
    site: Site, on_s3: dict[str, object], client: httpx.Client
) -> None:
    run = site.play("site", **on_s3)
    assert run.rc == 0, run.tail
    run = site.play("site", **on_s3)
    assert run.rc == 0, run.tail
    assert run.recap("voice-demo")["changed"] == 0, run.tail
    assert site.host.run("ls", "-d", PLACE, check=False).returncode != 0
    assert site.host.run("ls", DISK).stdout.split() == ["outputs", "voices.old"]
    keep_alice(client)
    job = asked(client).json()["id"]
    spoken(client, job)
    whole = client.get(f"/v1/jobs/{job}/audio")
    part = client.get(f"/v1/jobs/{job}/audio", headers={"Range": "bytes=-100"})
    assert (part.status_code, part.content) == (206, whole.content[-100:])
    site.host.run("systemctl", "start", "cosyhost-retention")
    record = json.loads(site.host.run("cat", "/var/lib/cosyhost-retention/last.json").stdout)
    assert record["ended"]


def test_the_buckets_key_lies_in_no_readable_place(site: Site, on_s3: dict[str, object]) -> None:
    run = audit(Site(site.tier, site.values | on_s3), "-k", "storage")
    assert run.rc == 0, run.tail


def test_a_bucket_that_refuses_is_503_and_comes_back(
    site: Site, bucket: s3.Server, client: httpx.Client
) -> None:
    before = site.main_pids()
    bucket.stop()
    answer = asked(client)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert store_of(client) == (503, "store_unavailable")
    ran = site.host.run("systemctl", "start", "cosyhost-retention", check=False)
    assert ran.returncode != 0
    bucket.start()  # moto's memory is gone with its process
    eventually(lambda: is_ready(client), "service")
    keep_alice(client)
    assert asked(client).status_code == 202
    site.host.run("systemctl", "start", "cosyhost-retention")
    assert site.main_pids() == before


def test_back_on_the_volume_uninstall_leaves_what_is_on_it(
    site: Site, client: httpx.Client
) -> None:
    run = site.play("site")
    assert run.rc == 0, run.tail
    keep_alice(client)
    before = site.host.run("find", f"{DISK}/voices", "-type", "f").stdout.split()
    run = site.play("uninstall")
    assert run.rc == 0, run.tail
    assert site.host.run("find", f"{DISK}/voices", "-type", "f").stdout.split() == before != []
    assert site.host.run("ls", "-d", PLACE, check=False).returncode != 0
    units = site.host.run("sh", "-c", "ls -d /etc/systemd/system/*cosyhost* || true").stdout
    assert units == ""


def test_purge_takes_ours_off_the_volume_and_nothing_else(site: Site, client: httpx.Client) -> None:
    run = site.play("site")
    assert run.rc == 0, run.tail
    assert client.get("/v1/audio/voices").json()["voices"] == ["Alice"]
    site.host.run("touch", f"{DISK}/theirs")
    run = site.play("uninstall", "-e", "purge=true")
    assert run.rc == 0, run.tail
    assert site.host.run("ls", DISK).stdout.split() == ["theirs", "voices.old"]
