"""The firewall on the demo tier's host: what it lets in, that nobody is locked out, its end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
import yaml

from tests.e2e.tier import BUILD, Run, Tier

OPEN = {"80": ["all"], "443": ["all"]}
TABLE = ("nft", "--stateless", "list", "table", "inet", "cosyhost")
# Somebody else's site, at a port of its own in the host's nginx.
SITE = "/etc/nginx/conf.d/theirs.conf"
THEIRS = 8080


@pytest.fixture(scope="module")
def walled(demo: Tier) -> Iterator[Tier]:
    """The tier with its firewall on; it is switched off again at the end."""
    inventory = BUILD / "firewall.yml"
    # As a host's variables: those of the tier's group_vars outrank a group's of an inventory file.
    asked = {"firewall_enabled": True, "firewall_open": OPEN}
    hosts = {"all": {"hosts": {demo.host.name: asked}}}
    inventory.write_text(yaml.safe_dump(hosts), encoding="utf-8")
    yield replace(demo, inventories=[*demo.inventories, inventory])
    demo.host.run("sh", "-c", f"rm -f {SITE}; systemctl reload nginx")
    wall(demo)


def wall(tier: Tier, **values: object) -> Run:
    """The firewall's part of site.yml, which must succeed."""
    run = tier.play("site", "--tags", "firewall", "-e", json.dumps(values))
    assert run.rc == 0, run.tail
    return run


def refusal(run: Run, code: str) -> str:
    """The one message of a run that was refused."""
    assert run.rc != 0, run.tail
    assert f"[{code}]" in run.said, run.tail
    return run.said


def theirs(tier: Tier) -> int:
    """What the other site answers; 0 if it does not."""
    try:
        return httpx.get(f"http://{tier.host.ip}:{THEIRS}/", timeout=2).status_code
    except httpx.TransportError:
        return 0


def live(tier: Tier) -> str:
    """The table, if there is one."""
    return tier.host.run(*TABLE, check=False).stdout


def until_live(tier: Tier, rules: str) -> None:
    """Wait until the table is as it was."""
    for _ in range(300):
        if live(tier) == rules:
            return
        time.sleep(0.1)
    raise AssertionError(f"not what it was: {live(tier)}")


def test_another_firewall_is_named_and_nothing_is_changed(walled: Tier) -> None:
    walled.host.run("mkdir", "-p", "/etc/ufw")
    walled.host.put("ENABLED=yes\n", "/etc/ufw/ufw.conf")
    try:
        said = refusal(walled.play("preflight"), "COSY-FIREWALL-FOREIGN")
        assert "has a firewall already: ufw." in said
        assert live(walled) == ""
    finally:
        walled.host.run("rm", "-r", "/etc/ufw")


def test_somebody_elses_site_is_not_cut_off(walled: Tier) -> None:
    site = f"server {{ listen {THEIRS}; location / {{ return 204; }} }}\n"
    walled.host.put(site, SITE)
    walled.host.run("systemctl", "reload", "nginx")
    assert theirs(walled) == 204
    said = refusal(walled.play("preflight"), "COSY-FIREWALL-CLOSES")
    assert f"{THEIRS} (`ss -lntup`" in said
    assert (theirs(walled), live(walled)) == (204, "")


def test_the_tier_is_served_behind_it_and_the_other_site_too(walled: Tier) -> None:
    known = OPEN | {str(THEIRS): ["all"]}
    wall(walled, firewall_open=known)
    run = wall(walled, firewall_open=known)
    assert run.recap(walled.host.name)["changed"] == 0, run.tail
    assert theirs(walled) == 204
    with walled.client() as client:
        assert client.get("/readyz").status_code == 200
    wall(walled)  # it is no longer named: closed
    assert theirs(walled) == 0
    run = walled.audit("-k", "firewall")
    assert run.rc == 0, run.tail
    assert "FIREWALL-RULES" in run.output


def test_somebody_elses_nftables_does_not_flush_ours_away(walled: Tier) -> None:
    """Debian's /etc/nftables.conf begins by flushing all there is."""
    before = live(walled)
    assert "policy drop" in before
    for does in ("restart", "reload"):
        walled.host.run("systemctl", does, "nftables")
        until_live(walled, before)
    walled.host.run("sh", "-c", "systemctl stop nftables; systemctl start cosyhost-firewall")
    until_live(walled, before)


def test_what_was_changed_by_hand_is_named_and_mended(walled: Tier) -> None:
    walled.host.run("nft", "add rule inet cosyhost input tcp dport 99 accept")
    run = walled.audit("-k", "firewall")
    assert run.rc == 1, run.tail
    assert "FIREWALL-RULES" in run.output
    wall(walled)
    assert "dport 99" not in live(walled)


def test_rules_that_lock_us_out_are_taken_back_by_the_host(walled: Tier) -> None:
    before = live(walled)
    wrong = json.dumps({"__firewall_ssh_ports": [1], "__firewall_patience_s": 15})
    run = walled.play("site", "--tags", "firewall", "-e", wrong)
    refusal(run, "COSY-FIREWALL-LOCKOUT")
    until_live(walled, before)
    # What a boot loads was never touched, and the next run finds its way in.
    walled.host.run("systemctl", "restart", "cosyhost-firewall")
    assert live(walled) == before
    wall(walled)
    assert live(walled) == before


def test_switched_off_it_is_gone(walled: Tier, demo: Tier) -> None:
    wall(demo)
    assert live(demo) == ""
    left = "ls /etc/cosyhost/firewall* /etc/systemd/system/cosyhost-firewall* 2>/dev/null || true"
    assert demo.host.run("sh", "-c", left).stdout == ""
    assert theirs(demo) == 204
