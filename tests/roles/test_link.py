"""What a LAN asks of the link, on links that lack it: Ansible runs inside a network namespace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns import Namespace, namespace, needs_root, port
from tests.roles.conftest import ROOT

pytestmark = needs_root
ASKED = {"exporter_static_address": True, "exporter_nominal_mbit": 1000}
OURS = "10.99.0.1/24"


@pytest.fixture
def here() -> Iterator[Namespace]:
    """A host on a LAN, and beside it another one that `beside` names."""
    with namespace() as made:
        yield made


@pytest.fixture
def beside(here: Namespace) -> Iterator[Namespace]:
    """The other one, at the end of a cable."""
    with namespace() as other:
        here.batch(
            f"link add lan0 type veth peer name lan0 netns {other.name}",
            "link set lan0 up",
            f"address add {OURS} dev lan0",
            "route add default via 10.99.0.254",
        )
        other.batch("link set lan0 up")
        yield other


def look(here: Namespace, **asked: object) -> subprocess.CompletedProcess[str]:
    """Run the role's check in there."""
    return subprocess.run(
        [*here.prefix, Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,",
         "-e", json.dumps(ASKED | asked), "tests/roles/link.yml"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
    )  # fmt: skip


def refusal(run: subprocess.CompletedProcess[str], code: str) -> str:
    assert run.returncode == 2, run.stdout + run.stderr
    assert f"[{code}]" in run.stdout, run.stdout
    return " ".join(run.stdout.split())


def test_a_fixed_address_of_ones_own_passes(here: Namespace, beside: Namespace) -> None:
    beside.batch("address add 10.99.0.2/24 dev lan0")
    run = look(here)
    assert run.returncode == 0, run.stdout + run.stderr


def test_somebody_else_at_the_address_is_named(here: Namespace, beside: Namespace) -> None:
    beside.batch(f"address add {OURS} dev lan0")
    theirs = json.loads(beside.run("ip", "-json", "link", "show", "lan0"))[0]["address"]
    assert theirs in refusal(look(here), "COSY-LINK-ADDRESS-TAKEN")


def test_an_address_that_is_lent_is_refused(here: Namespace, beside: Namespace) -> None:
    here.batch(f"address change {OURS} dev lan0 valid_lft 600 preferred_lft 600")
    assert "10.99.0.1" in refusal(look(here), "COSY-LINK-DHCP")
    assert look(here, exporter_static_address=False).returncode == 0


@pytest.mark.parametrize(("speed", "duplex"), [(100, "full"), (1000, "half")])
def test_a_port_that_negotiated_too_little_is_refused(
    here: Namespace, speed: int, duplex: str
) -> None:
    with port(here, "tap0", speed, duplex):
        here.batch(f"address add {OURS} dev tap0", "route add default via 10.99.0.254")
        said = refusal(look(here), "COSY-LINK-SPEED")
        assert f"tap0 of localhost negotiated {speed} Mbit/s" in said
        assert "网线" in said
        if duplex == "full":
            assert look(here, exporter_nominal_mbit=100).returncode == 0
