"""Files: owners, modes, and who can read the secrets."""

from __future__ import annotations

from typing import Any

import pytest
import tomllib
from testinfra.host import Host

FOLDERS = {
    "/opt/cosyhost": "755 root root",
    "/opt/cosyhost/releases": "755 root root",
    "/etc/cosyhost": "755 root root",
    "/etc/cosyhost/credentials": "700 root root",
    "/var/lib/cosyhost": "750 cosyhost cosyhost",
    "/var/lib/cosyhost/voices": "750 cosyhost cosyhost",
    "/var/lib/cosyhost/outputs": "750 cosyhost cosyhost",
    "/var/lib/cosyhost/models": "750 cosyhost cosyhost",
}
CREDENTIAL = "/etc/cosyhost/credentials/redis_password"
STORE_KEY = "/etc/cosyhost/credentials/store_key"
VOLUME = "/srv/cosyhost"
# A look at what a mount covers: in a mount namespace of its own, where it is taken away.
BENEATH = (
    f"unshare --mount sh -c 'umount --lazy {VOLUME}; cd {VOLUME} && "
    'stat --format="%a %U %G" . && find . -mindepth 1\''
)


@pytest.mark.control(
    "STORE-FOLDERS",
    "storage",
    why="voices are personal data, programs not to be touched",
    zh="声音是个人数据，程序不应被改动",
)
def test_folders_have_their_owners_and_modes(host: Host) -> None:
    said = host.run("stat --format='%n:%a %U %G' " + " ".join(FOLDERS))
    found = dict(line.split(":", 1) for line in said.stdout.splitlines())
    wrong = [
        f"{path}: {found.get(path, 'absent')}, should be {want}"
        for path, want in FOLDERS.items()
        if found.get(path) != want
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.group("web")
@pytest.mark.control(
    "STORE-VOLUME",
    "storage",
    why="without its volume the service would fill the host's disk",
    zh="没有独立卷，服务会写满主机的磁盘",
)
def test_the_volume_is_mounted_and_nothing_lies_beneath(host: Host, values: dict[str, Any]) -> None:
    if not values["volume_what"]:
        pytest.skip("this host has no volume of its own for voices and outputs")
    found = host.run(f"systemctl is-enabled srv-cosyhost.mount && mountpoint {VOLUME}")
    assert found.rc == 0, f"{VOLUME} is not mounted, or not at boot: {found.stdout}{found.stderr}"
    written = host.run(
        f"for one in voices outputs; do runuser -u cosyhost -- test -w {VOLUME}/$one || "
        f"echo {VOLUME}/$one; done"
    ).stdout
    assert not written, f"the service cannot write to {written}"
    beneath = host.check_output(BENEATH)
    assert beneath == "555 root root", f"beneath {VOLUME}: {beneath}, should be 555 root root"


@pytest.mark.control(
    "STORE-CREDENTIALS",
    "access",
    why="who has the queue's password can speak and listen",
    zh="拿到队列密码的人既能发声也能窃听",
)
def test_credentials_are_for_root_only(host: Host) -> None:
    said = host.check_output(
        "find /etc/cosyhost/credentials -type f ! '(' -user root -perm 0400 ')' "
        "-printf '%p: %m %u\\n'"
    )
    assert not said, f"{said}\nshould be 400 root"


@pytest.mark.group("worker")
@pytest.mark.control(
    "STORE-SECRETS",
    "access",
    why="a secret in a readable place is no secret",
    zh="放在可读之处的秘密不是秘密",
)
def test_the_password_lies_in_no_readable_place(host: Host) -> None:
    """Neither in files that others can read, nor in any process's environment or command line."""
    assert host.run(f"test -s {CREDENTIAL}").rc == 0, "no password at all"
    for secret in (CREDENTIAL, STORE_KEY):
        said = host.run(
            f"test -s {secret} || exit 0; "
            "find /etc /opt/cosyhost/current/ -xdev -type f -perm /o+r -size -200k "
            f"-not -path '*/site-packages/*' -exec grep -lsF -f {secret} {{}} +; "
            f"grep -lsaF -f {secret} /proc/[0-9]*/environ /proc/[0-9]*/cmdline"
        )
        assert not said.stdout.strip(), f"what is in {secret} is readable in: {said.stdout}"


@pytest.mark.control(
    "STORE-USER-DATA",
    "storage",
    why="a voice belongs to the one who gave it",
    zh="声音属于提供它的人",
)
def test_voices_and_outputs_are_closed_to_others(host: Host) -> None:
    said = host.check_output(
        "find /var/lib/cosyhost/voices /var/lib/cosyhost/outputs "
        f"$(ls -d {VOLUME}/voices {VOLUME}/outputs 2>/dev/null) "
        "'(' -perm /o+rwx -o ! -user cosyhost ')' -printf '%p: %m %u\\n' | head -n 10"
    )
    assert not said, said


@pytest.mark.group("worker")
@pytest.mark.control(
    "STORE-READONLY",
    "access",
    why="a broken-in service must not rewrite itself",
    zh="被攻破的服务不得改写自身",
)
def test_the_service_can_write_neither_its_programs_nor_its_configuration(host: Host) -> None:
    said = host.check_output(
        "find -L /opt/cosyhost/current/ /etc/cosyhost /etc/systemd/system /etc/nginx "
        "'(' -type f -o -type d ')' "  # a masked unit is a link to /dev/null
        "'(' -user cosyhost -o -group cosyhost -perm /g+w -o -perm /o+w ')' "
        "-printf '%p: %m %u:%g\\n' | head -n 10"
    )
    assert not said, said


@pytest.mark.group("web")
@pytest.mark.control(
    "STORE-RETENTION",
    "storage",
    why="outputs that are kept longer than was promised, or a volume that fills",
    zh="输出保留得比承诺的久，或者磁盘被写满",
)
def test_outputs_are_kept_as_the_inventory_says(host: Host, values: dict[str, Any]) -> None:
    told = tomllib.loads(host.check_output("cat /etc/cosyhost/cosyhost.toml"))["retention"]
    names = {name: f"service_retention_{name}" for name in told}
    names["refuse_below_bytes"] = "service_refuse_below_bytes"
    wrong = [
        f"{name} is {told[name]}, should be {values[variable]}"
        for name, variable in names.items()
        if told[name] != int(values[variable])
    ]
    assert not wrong, "\n".join(wrong)
