"""The audit can fail: what was changed by hand is named, and site.yml mends it."""

from __future__ import annotations

import re
import time

from tests.e2e.tier import Run, Tier
from tests.netns import Namespace, port

DAMAGE = {
    "STORE-CREDENTIALS": "chmod 644 /etc/cosyhost/credentials/redis_password",
    "STORE-FOLDERS": "chmod 755 /var/lib/cosyhost/voices",
    "UNIT-ACTIVE": "systemctl stop cosyhost-worker@0",
    "MON-EXPORTER": "systemctl stop cosyhost-exporter",
    "ALERT-RULES": "sed -i 's/alert: QueueFull/alert: QueueEmpty/' "
    "/etc/cosyhost/prometheus/rules.yml && systemctl reload cosyhost-prometheus",
    "EDGE-LIMIT": "sed -i 's/client_max_body_size .*/client_max_body_size 1m;/' "
    "/etc/nginx/conf.d/cosyhost.conf && systemctl reload nginx",
    "EDGE-VERSION": "sed -i 's/server_tokens off/server_tokens on/' "
    "/etc/nginx/conf.d/cosyhost.conf && systemctl reload nginx",
}


def failed(run: Run) -> set[str]:
    """The ids of the checks that the audit's table shows as failed."""
    return set(re.findall(r"^\w+ +([A-Z0-9-]+) .*(?:FAIL|ERROR)$", run.output, re.M))


def test_the_audit_names_what_was_changed_by_hand(demo: Tier) -> None:
    for command in DAMAGE.values():
        demo.host.run("sh", "-ec", command)
    _until_not_ready(demo)
    run = demo.audit()
    assert run.rc == 1, run.tail
    assert set(DAMAGE) <= failed(run), run.tail
    assert "cosyhost-worker@0.service: inactive (dead)" in run.output
    assert "/etc/cosyhost/credentials/redis_password: 644 root" in run.output
    report = run.output.partition("xml file: ")[2].split()[0]
    assert report.endswith("audit.xml")


def test_site_mends_it(demo: Tier) -> None:
    run = demo.provision()
    assert run.recap(demo.host.name)["changed"] > 0
    run = demo.audit()
    assert run.rc == 0, run.tail


def test_the_playbook_runs_the_same_audit(demo: Tier) -> None:
    run = demo.play("audit", "-e", '{"audit_args": ["-k", "queue or units"]}')
    assert run.rc == 0, run.tail
    assert "QUEUE-PASSWORD" in run.output
    assert run.recap("localhost")["failed"] == 0


def test_the_audit_names_a_link_that_is_too_slow(lan: Tier) -> None:
    inside = Namespace(lan.host.netns)
    with port(inside, "slow0", 100, "full"), port(inside, "half0", 1000, "half"):
        run = lan.audit("-k", "monitoring")
    assert failed(run) == {"LINK-SPEED"}, run.tail
    assert "slow0 negotiated 100 Mbit/s, meant are 1000" in run.output
    assert "half0 is half duplex" in run.output
    assert lan.audit("-k", "monitoring").rc == 0


def _until_not_ready(tier: Tier) -> None:
    """A stopped worker counts until its lease ends."""
    with tier.client() as client:
        for _ in range(60):
            if client.get("/readyz").status_code == 503:
                return
            time.sleep(0.5)
    raise AssertionError("the service says it is ready without a worker")
