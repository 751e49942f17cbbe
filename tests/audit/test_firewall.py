"""The firewall: on as the inventory says, and by the rules that were proven."""

from __future__ import annotations

from typing import Any

import pytest
from testinfra.host import Host

RULES = "/etc/cosyhost/firewall.nft"
LIST = "nft --stateless list table inet cosyhost"


@pytest.mark.control(
    "FIREWALL-ON",
    "network",
    why="what is not loaded at the next boot guards until then only",
    zh="下次开机不会加载的防火墙，只能保护到那时为止",
)
def test_the_firewall_is_on_and_comes_back_at_boot(host: Host, values: dict[str, Any]) -> None:
    if not values["firewall_enabled"]:
        pytest.skip("firewall_enabled is false: whatever the host has is its own")
    said = host.run("systemctl is-enabled cosyhost-firewall; systemctl is-active cosyhost-firewall")
    assert said.stdout.split() == ["enabled", "active"], said.stdout


@pytest.mark.control(
    "FIREWALL-RULES",
    "network",
    why="one rule added by hand opens what all the others close",
    zh="手工加的一条规则就会打开其余规则关闭的东西",
)
def test_the_kernel_goes_by_the_rules_of_the_inventory(host: Host, values: dict[str, Any]) -> None:
    """The file is loaded into an empty network beside the host's, and both are listed."""
    if not values["firewall_enabled"]:
        pytest.skip("firewall_enabled is false: whatever the host has is its own")
    live = host.run(LIST)
    assert live.rc == 0, "the table inet cosyhost is not loaded"
    meant = host.check_output(f"unshare --net sh -c 'nft -f {RULES} && {LIST}'")
    more = set(live.stdout.splitlines()) ^ set(meant.splitlines())
    assert live.stdout.strip() == meant.strip(), f"live and {RULES} differ:\n" + "\n".join(more)
    assert "policy drop;" in meant
    told = {
        name.partition("/")[0] for name, networks in values["firewall_open"].items() if networks
    }
    absent = {port for port in told if f"dport {port} accept" not in meant}
    assert not absent, f"not open, but named in firewall_open: {sorted(absent)}"
