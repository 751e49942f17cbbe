"""rollback.yml: back to what served before, through the same gate, and never to something worse."""

from __future__ import annotations

import time
from pathlib import Path

from tests.e2e.test_release import (
    finished_wheel,
    kill_once,
    message,
    still_serves,
    there,
    web_unit,
)
from tests.e2e.tier import Tier

VERSION = "9.9.9"
SPOILT = "async def accept(*_):\\n    raise RuntimeError(1)"


def test_a_version_that_is_not_there_is_refused_with_those_that_are(
    lan: Tier, tmp_path: Path
) -> None:
    wheels = finished_wheel(tmp_path, VERSION)
    arguments = ("-e", f"service_wheels={wheels}", "-e", "service_version=1.2.3")
    said = message(lan.play("preflight", *arguments), "COSY-SERVICE-VERSION")
    assert f"there are: cosyhost-{VERSION}-py3-none-any.whl" in said


def test_an_upgrade_to_a_version_and_all_ways_back(
    lan: Tier, tmp_path: Path, prompt: bytes
) -> None:
    before, unit = lan.release(), web_unit(lan)
    wheels = finished_wheel(tmp_path, VERSION)
    lan.provision(
        "-e", f"service_wheels={wheels}", "-e", f"service_version={VERSION}",
        "-e", "service_ready_timeout_s=121",
    )  # fmt: skip
    upgraded = lan.release()
    assert upgraded.startswith(f"releases/{VERSION}-")
    assert web_unit(lan) != unit
    still_serves(lan, upgraded, prompt)

    # What it goes back to passes its gate and can't speak: the newer one stays.
    module = f"/opt/cosyhost/{before}/web/lib/python3*/site-packages/cosyhost/web/intake.py"
    lan.host.run("sh", "-ec", f"cp {module} /root/kept; printf '\\n{SPOILT}\\n' >>$(echo {module})")
    said = message(lan.play("rollback"), "COSY-SERVICE-NOT-READY")
    assert f"{upgraded.removeprefix('releases/')} serves now" in said
    still_serves(lan, upgraded, prompt)
    lan.host.run("sh", "-ec", f"cp /root/kept {module}")

    # Killed in the middle, the host itself brings the switch to a good end.
    kill_once(lan, [], lambda: there(lan, "/opt/cosyhost/switching"), "rollback")
    settled(lan)
    still_serves(lan, before, prompt)
    assert web_unit(lan) == unit

    again = lan.play("rollback")
    assert again.rc == 0, again.tail
    assert again.recap(lan.host.name)["changed"] == 0, "a rollback that was done is done again"
    assert lan.release() == before

    listed = lan.play("rollback", "-e", "list=true")
    assert listed.rc == 0, listed.tail
    assert f"* {before.removeprefix('releases/')} served since" in listed.said
    assert upgraded.removeprefix("releases/") in listed.said

    named = lan.play("rollback", "-e", f"service_release={upgraded.removeprefix('releases/')}")
    assert named.rc == 0, named.tail
    still_serves(lan, upgraded, prompt)


def test_going_back_to_nothing_is_refused_and_serves_on(lan: Tier, prompt: bytes) -> None:
    now = lan.release()
    said = message(lan.play("rollback", "-e", "service_release=0-none"), "COSY-SERVICE-NO-RELEASE")
    assert "no whole release 0-none" in said
    assert "没有完整的版本" in said
    still_serves(lan, now, prompt)


def test_the_checkout_comes_back(lan: Tier) -> None:
    lan.provision()
    run = lan.audit()
    assert run.rc == 0, run.tail


def settled(tier: Tier) -> None:
    """Wait for a switch that its run no longer follows."""
    for _ in range(600):
        if not there(tier, "/opt/cosyhost/switching"):
            return
        time.sleep(0.2)
    raise AssertionError("the switch came to no end")
