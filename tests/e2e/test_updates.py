"""Security updates by the host itself: switched on, and left to the host again."""

from __future__ import annotations

from tests.e2e.tier import Run, Tier

ON = ("-e", '{"base_security_updates": true}')


def base(tier: Tier, *more: str) -> Run:
    """The role alone, which must succeed."""
    return tier.provision("--tags", "base", *more)


def test_they_are_switched_on_without_gpu_drivers_and_off_again(demo: Tier) -> None:
    base(demo, *ON)
    said = demo.host.run("apt-config", "dump").stdout
    assert 'APT::Periodic::Unattended-Upgrade "1";' in said
    blacklist = "Unattended-Upgrade::Package-Blacklist:: "
    assert f'{blacklist}"nvidia-";' in said
    # It reads its settings, and would go about it. (The testbed's hosts have apt's timers masked.)
    tried = demo.host.run("unattended-upgrade", "--dry-run", "--debug", check=False)
    assert "nvidia-" in tried.stdout + tried.stderr, tried
    assert base(demo, *ON).recap(demo.host.name)["changed"] == 0
    assert base(demo).recap(demo.host.name)["changed"] == 1
    assert blacklist + '"nvidia-"' not in demo.host.run("apt-config", "dump").stdout
