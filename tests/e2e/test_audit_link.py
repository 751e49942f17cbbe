"""The audit reads what a host's ports have negotiated."""

from __future__ import annotations

from tests.e2e.test_audit_finds import failed
from tests.e2e.tier import Tier
from tests.netns import Namespace, port


def test_the_audit_names_a_link_that_is_too_slow(lan: Tier) -> None:
    inside = Namespace(lan.host.netns)
    with port(inside, "slow0", 100, "full"), port(inside, "half0", 1000, "half"):
        run = lan.audit("-k", "monitoring")
    assert failed(run) == {"LINK-SPEED"}, run.tail
    assert "slow0 negotiated 100 Mbit/s, meant are 1000" in run.output
    assert "half0 is half duplex" in run.output
    assert lan.audit("-k", "monitoring").rc == 0
