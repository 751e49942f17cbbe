"""Files: owners, modes, and who can read the secrets."""

from __future__ import annotations

import pytest
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


@pytest.mark.control("STORE-FOLDERS", why="voices are personal data, programs not to be touched")
def test_folders_have_their_owners_and_modes(host: Host) -> None:
    said = host.run("stat --format='%n:%a %U %G' " + " ".join(FOLDERS))
    found = dict(line.split(":", 1) for line in said.stdout.splitlines())
    wrong = [
        f"{path}: {found.get(path, 'absent')}, should be {want}"
        for path, want in FOLDERS.items()
        if found.get(path) != want
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.control("STORE-CREDENTIALS", why="who has the queue's password can speak and listen")
def test_credentials_are_for_root_only(host: Host) -> None:
    said = host.check_output(
        "find /etc/cosyhost/credentials -type f ! '(' -user root -perm 0400 ')' "
        "-printf '%p: %m %u\\n'"
    )
    assert not said, f"{said}\nshould be 400 root"


@pytest.mark.group("worker")
@pytest.mark.control("STORE-SECRETS", why="a secret in a readable place is no secret")
def test_the_password_lies_in_no_readable_place(host: Host) -> None:
    """Neither in files that others can read, nor in any process's environment or command line."""
    said = host.run(
        f"test -s {CREDENTIAL} || {{ echo no password at all; exit; }}; "
        f"find /etc /opt/cosyhost/current/ -xdev -type f -perm /o+r -size -200k "
        f"-not -path '*/site-packages/*' -exec grep -lsF -f {CREDENTIAL} {{}} +; "
        f"grep -lsaF -f {CREDENTIAL} /proc/[0-9]*/environ /proc/[0-9]*/cmdline"
    )
    assert not said.stdout.strip(), f"the queue's password is readable in: {said.stdout}"


@pytest.mark.control("STORE-USER-DATA", why="a voice belongs to the one who gave it")
def test_voices_and_outputs_are_closed_to_others(host: Host) -> None:
    said = host.check_output(
        "find /var/lib/cosyhost/voices /var/lib/cosyhost/outputs "
        "'(' -perm /o+rwx -o ! -user cosyhost ')' -printf '%p: %m %u\\n' | head -n 10"
    )
    assert not said, said


@pytest.mark.group("worker")
@pytest.mark.control("STORE-READONLY", why="a broken-in service must not rewrite itself")
def test_the_service_can_write_neither_its_programs_nor_its_configuration(host: Host) -> None:
    said = host.check_output(
        "find -L /opt/cosyhost/current/ /etc/cosyhost /etc/systemd/system /etc/nginx "
        "'(' -type f -o -type d ')' "  # a masked unit is a link to /dev/null
        "'(' -user cosyhost -o -group cosyhost -perm /g+w -o -perm /o+w ')' "
        "-printf '%p: %m %u:%g\\n' | head -n 10"
    )
    assert not said, said
