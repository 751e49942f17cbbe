"""A host or an inventory that can't work: one failing assert, its cure, and nothing changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.tier import BUILD, ROOT, Run, Tier, changes, mark
from tests.testbed import Host, Testbed


@pytest.fixture(scope="module")
def bare(bed: Testbed, control: Path, pytestconfig: pytest.Config) -> Iterator[Tier]:
    """A bare host under the name of the demo tier's, in an inventory of its own."""
    host = bed.up("ae-bare", suite="bookworm")
    inventory = BUILD / "bare.yml"
    own = bed.inventory_yaml(names=[host.name]).replace("ae-bare:", "voice-demo:")
    inventory.write_text(own, encoding="utf-8")
    yield Tier("bare", host, [ROOT / "inventories/demo", inventory], control)
    if not pytestconfig.getoption("--keep-hosts"):
        host.down()


@pytest.fixture
def untouched(bare: Tier) -> Iterator[Host]:
    """The bare host; at the end it must be as it was."""
    yield bare.host
    assert [path for path in changes(bare.host) if path not in ("/etc/os-release",)] == []


def refusal(run: Run, code: str) -> str:
    """The one message of a run that was refused."""
    assert run.rc != 0, run.tail
    assert run.output.count("FAILED!") == 1, run.tail
    assert f"[{code}]" in run.said, run.tail
    return run.said


def test_a_host_without_room_is_refused(bare: Tier, untouched: Host) -> None:
    untouched.run("mkdir", "-p", "/var/lib/cosyhost")
    untouched.run("mount", "-t", "tmpfs", "-o", "size=64m", "none", "/var/lib/cosyhost")
    mark(untouched)
    said = refusal(bare.play("site"), "COSY-BASE-DISK")
    assert "/var/lib/cosyhost: 64.00 MB" in said
    assert "base_data_free_min_bytes" in said
    assert "磁盘空间不足" in said
    untouched.run("umount", "/var/lib/cosyhost")


@pytest.mark.parametrize("system", ["fedora", "alpine"])
def test_another_system_is_refused(bare: Tier, untouched: Host, system: str) -> None:
    release = f'NAME="{system.title()} Linux"\nID={system}\nVERSION_ID=41\n'
    hide = "mv /usr/lib/os-release /usr/lib/os-release.real"
    hide += f"; printf '{release}' >/usr/lib/os-release"
    hide += f"; mv /etc/debian_version /etc/{system}-release"
    untouched.run("sh", "-ec", hide)
    mark(untouched)
    try:
        said = refusal(bare.play("site"), "COSY-BASE-OS")
        assert "Debian 12 or 13" in said
        assert "需要 Debian 12/13" in said
    finally:
        untouched.run(
            "sh", "-ec", "mv /usr/lib/os-release.real /usr/lib/os-release; "
            f"mv /etc/{system}-release /etc/debian_version; sleep 0.05; touch /root/.watched",
        )  # fmt: skip


def test_a_misspelt_variable_is_refused(bare: Tier, untouched: Host) -> None:
    mark(untouched)
    run = bare.play("site", "-e", "edge_body_limit_byte=5")
    said = refusal(run, "COSY-INV-UNKNOWN-VARIABLE")
    assert "edge_body_limit_byte (did you mean edge_body_limit_bytes" in said
    assert "没有任何角色认识变量" in said


def test_an_address_that_nobody_filled_in_is_refused(bare: Tier) -> None:
    alone = Tier("bare", bare.host, [ROOT / "inventories/demo"], bare.control)
    said = refusal(alone.play("site"), "COSY-INV-PLACEHOLDER-ADDRESS")
    assert "192.0.2.10" in said
    assert "hosts.yml" in said


def test_a_wrong_value_is_refused(bare: Tier, untouched: Host) -> None:
    mark(untouched)
    said = refusal(bare.play("site", "-e", "edge_body_limit_bytes=1"), "COSY-EDGE-VALUES")
    assert "1048576" in said


def test_a_port_of_somebody_else_is_refused_by_name(bare: Tier, untouched: Host) -> None:
    untouched.run("systemd-run", "--quiet", "--unit=theirs", "python3", "-m", "http.server", "80")
    waited = "for i in $(seq 50); do ss -Hltn | grep -q ':80 ' && exit; sleep 0.1; done"
    untouched.run("sh", "-c", waited)
    mark(untouched)
    try:
        said = refusal(bare.play("site"), "COSY-EDGE-PORT")
        assert "0.0.0.0:80 users:((" in said
        assert "edge_listen" in said
    finally:
        untouched.run("systemctl", "stop", "theirs")


def test_a_site_that_was_there_first_stays_reachable(demo: Tier) -> None:
    theirs = "/etc/nginx/conf.d/theirs.conf"
    demo.host.put("server { listen 80; server_name theirs.lan; return 204; }\n", theirs)
    try:
        run = demo.play("preflight")
        assert theirs in refusal(run, "COSY-EDGE-SITE")
        assert run.recap(demo.host.name)["changed"] == 0
        named = demo.play("preflight", "-e", "edge_server_name=voice.lan")
        assert named.rc == 0, named.tail
    finally:
        demo.host.run("rm", theirs)


def test_a_line_that_is_not_there_yet_is_left_to_the_audit(bare: Tier, untouched: Host) -> None:
    mark(untouched)
    run = bare.play("preflight")
    assert run.rc == 0, run.tail
    assert "cannot be measured yet (netcheck_unreachable)" in run.said
    assert "the audit measures it after the deployment" in run.said


def test_a_thin_line_is_refused_and_can_be_let_be(demo: Tier) -> None:
    demo.host.shape("20mbit")
    try:
        run = demo.play("preflight")
        said = refusal(run, "COSY-LINK-THIN")
        assert "Tier demo asks for 50 Mbit/s up and 50 Mbit/s down at its host" in said
        assert "主机上行 50 Mbit/s" in said
        assert run.recap(demo.host.name)["changed"] == 0
        audit = demo.audit("-k", "network")
        assert audit.rc == 1, audit.tail
        assert "LINK-UPLINK" in audit.output
        let = demo.play("preflight", "-e", '{"edge_netcheck_url": ""}')
        assert let.rc == 0, let.tail
    finally:
        demo.host.shape(None)
    run = demo.play("preflight")
    assert run.rc == 0, run.tail
    assert "that holds, seen from here" in run.said
