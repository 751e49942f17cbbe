"""Host specifications, addresses and settings are read right, or refused with their cure."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from tests.testbed import HostSpec, Settings, UsageError
from tests.testbed.errors import TestbedError
from tests.testbed.records import choose_address, taken_addresses

SUBNET = IPv4Network("10.9.8.0/24")


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("web", HostSpec("web", "bookworm")),
        ("web:trixie", HostSpec("web", "trixie")),
        ("web:trixie+redis", HostSpec("web", "trixie", "redis")),
        ("web:trixie+redis:10.77.0.40", HostSpec("web", "trixie", "redis", "10.77.0.40")),
        ("web::10.77.0.40", HostSpec("web", "bookworm", None, "10.77.0.40")),
        ("web:+redis", HostSpec("web", "bookworm", "redis")),
    ],
)
def test_a_specification_is_read(text: str, spec: HostSpec) -> None:
    assert HostSpec.parse(text) == spec


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("Web", "1 to 12 characters"),
        ("1web", "a letter first"),
        ("../web", "1 to 12 characters"),
        ("a-name-too-long", "1 to 12 characters"),
        ("web:sarge", "use bookworm or trixie"),
        ("web:trixie+", "name a layer after"),
        ("web:trixie+../x", "bad layer name"),
        ("web:trixie:1.2.3.4:5", r"write NAME\[:SUITE"),
    ],
)
def test_a_bad_specification_is_refused_with_the_rule(text: str, cure: str) -> None:
    with pytest.raises(UsageError, match=cure) as caught:
        HostSpec.parse(text)
    assert caught.value.exit_code == 2


def test_the_lowest_free_address_is_given_out() -> None:
    assert choose_address(SUBNET, []) == "10.9.8.11"
    assert choose_address(SUBNET, ["10.9.8.11", "10.9.8.13"]) == "10.9.8.12"
    assert choose_address(SUBNET, [], "10.9.8.200") == "10.9.8.200"


def test_a_full_subnet_is_an_error() -> None:
    with pytest.raises(TestbedError, match="take hosts down"):
        choose_address(SUBNET, map(str, SUBNET.hosts()))


@pytest.mark.parametrize(
    "wanted", ["10.9.8.1", "10.9.8.0", "10.9.8.255", "10.9.9.4", "x", "10.9.8.50"]
)
def test_an_address_that_cannot_be_had_is_refused(wanted: str) -> None:
    with pytest.raises(UsageError):
        choose_address(SUBNET, ["10.9.8.50"], wanted)


def test_all_names_derive_from_the_testbeds_name() -> None:
    one = Settings.from_env({"HOME": "/home/someone"})
    two = Settings.from_env({"HOME": "/home/someone", "COSYHOST_TESTBED": "other"})
    assert one.state_root == two.state_root
    assert one.images == two.images
    for what in ("subnet", "bridge", "tag", "netns_prefix", "hosts", "layers", "state", "lock"):
        assert getattr(one, what) != getattr(two, what)
    assert one.link("web") != two.link("web")


def test_interface_names_fit_the_kernels_15_characters() -> None:
    settings = Settings.from_env({"HOME": "/x", "COSYHOST_TESTBED": "longname"})
    assert len(settings.bridge) <= 15
    assert len(settings.link("a" * 12) + "i") <= 15


@pytest.mark.parametrize(
    "env",
    [
        {"COSYHOST_TESTBED": "No"},
        {"COSYHOST_TESTBED": "longer-than-8"},
        {"COSYHOST_TESTBED_DIR": "relative"},
        {"COSYHOST_TESTBED_MACHINES": "/a:b"},
        {"COSYHOST_TESTBED_SUBNET": "10.0.0.0/16"},
        {"COSYHOST_TESTBED_SUBNET": "nonsense"},
    ],
)
def test_bad_settings_are_refused(env: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="use "):
        Settings.from_env({"HOME": "/x", **env})


def test_a_machine_without_hosts_has_no_addresses_taken(tmp_path: object) -> None:
    settings = Settings.from_env({"HOME": "/x", "COSYHOST_TESTBED_MACHINES": f"{tmp_path}/none"})
    assert taken_addresses(settings) == {}
