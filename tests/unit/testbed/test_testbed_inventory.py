"""The inventory makes Ansible reach the hosts, whatever another inventory says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.testbed import Host, Settings, UsageError
from tests.testbed.cgroups import Cgroups
from tests.testbed.inventory import render
from tests.testbed.records import HostRecord

KEY = Path("/keys/id_ed25519")


def host(name: str, ip: str) -> Host:
    settings = Settings.from_env({"HOME": "/x"})
    groups = Cgroups("tag", Path("/none"), (), ())
    return Host(settings, groups, HostRecord(name, ip, "trixie", None, "build", []))


def read(text: str) -> dict[str, dict[str, object]]:
    """Read the little of YAML that the inventory uses."""
    head, middle, *lines = text.splitlines()
    assert (head, middle) == ("all:", "  hosts:")
    hosts: dict[str, dict[str, object]] = {}
    for line in lines:
        name, _, value = line.strip().partition(": ")
        if line.startswith("      "):
            hosts[list(hosts)[-1]][name] = json.loads(value)
        else:
            hosts[name.rstrip(":")] = {}
    return hosts


def test_each_host_carries_its_whole_connection() -> None:
    found = read(render([host("web", "10.0.0.2"), host("db", "10.0.0.3")], KEY))
    assert list(found) == ["web", "db"]
    assert found["db"]["ansible_host"] == "10.0.0.3"
    for variables in found.values():
        assert variables["ansible_connection"] == "ssh"
        assert variables["ansible_user"] == "root"
        assert variables["ansible_python_interpreter"] == "/usr/bin/python3"
        assert variables["ansible_ssh_private_key_file"] == str(KEY)


def test_the_users_ssh_files_are_neither_read_nor_written() -> None:
    arguments = str(read(render([host("web", "10.0.0.2")], KEY))["web"]["ansible_ssh_common_args"])
    for option in ("-F /dev/null", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes"):
        assert option in arguments


def test_more_variables_are_added_by_host() -> None:
    extra = {"web": {"tier": "lan", "ports": [80, 443], "ansible_user": "ops"}}
    web = read(render([host("web", "10.0.0.2")], KEY, extra))["web"]
    assert web["ports"] == [80, 443]
    assert web["ansible_user"] == "ops"


def test_variables_for_a_host_that_is_not_there_are_refused() -> None:
    with pytest.raises(UsageError, match="no such host: db"):
        render([host("web", "10.0.0.2")], KEY, {"db": {}})


def test_no_hosts_make_a_valid_inventory() -> None:
    assert render([], KEY) == "all:\n  hosts: {}\n"
