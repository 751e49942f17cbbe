"""The audit changes nothing, and can fail: it names what was changed by hand; site.yml mends it."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from tests.e2e.tier import Run, Tier, changes, mark

SITE = "/etc/nginx/conf.d/cosyhost.conf"
RULES = "/etc/cosyhost/prometheus/rules.yml"
TOML = "/etc/cosyhost/cosyhost.toml"
QUEUE = "/etc/redis/redis-cosyhost.conf"
DROP_IN = "/etc/systemd/system/cosyhost-web.service.d/loose.conf"
LOCK = "/opt/cosyhost/current/web.txt"
# A secret that only the host knows, in a credential and by mistake in a file that the audit reads.
CANARY = "canary-4f1d9b7e2c"

DAMAGE = {
    "EDGE-LIMIT": f"sed -i 's/client_max_body_size 10.*/client_max_body_size 1m;/' {SITE}",
    "EDGE-VERSION": f"sed -i 's/server_tokens off/server_tokens on/' {SITE}",
    "EDGE-GZIP": f"sed -i 's/gzip on;/gzip off;/' {SITE}",
    "EDGE-METRICS": f"sed -i '/location = .metrics/,/}}/s#return 404;#proxy_pass http://cosyhost_web;#'"
    f" {SITE} && systemctl reload nginx",
    "QUEUE-EVICTION": f"sed -i 's/^maxmemory-policy .*/maxmemory-policy allkeys-lru/' {QUEUE}",
    "QUEUE-BIND": f"sed -i 's/^bind .*/bind 0.0.0.0/' {QUEUE}"
    " && systemctl restart redis-server@cosyhost",
    "STORE-CREDENTIALS": "chmod 644 /etc/cosyhost/credentials/redis_password",
    "TRAIL-CLOSED": "chmod 755 /var/log/cosyhost-trail",
    "STORE-FOLDERS": "chmod 755 /var/lib/cosyhost/voices",
    "STORE-RETENTION": "sed -i --follow-symlinks "
    f"'s/^max_age_s = .*/max_age_s = 999999999 # {CANARY}/' {TOML}",
    "UNIT-TIMERS": "systemctl disable --quiet --now cosyhost-retention.timer",
    "UNIT-ACTIVE": "systemctl stop cosyhost-worker@0",
    "RELEASE-UNITS": "sed -i 's/^ProtectHome=.*/ProtectHome=no/'"
    " /etc/systemd/system/cosyhost-web.service && systemctl daemon-reload",
    "MON-EXPORTER": "systemctl stop cosyhost-exporter",
    "LOG-ROTATE": "systemctl stop cosyhost-logrotate.timer",
    "ALERT-RULES": f"sed -i 's/alert: QueueFull/alert: QueueEmpty/' {RULES}"
    " && systemctl reload cosyhost-prometheus",
}
# What site.yml leaves to whoever did it, as docs/audit.md says; and how it is undone.
LEFT = {
    "UNIT-SANDBOX": (
        f"install -D /dev/null {DROP_IN} && printf '[Service]\\nProtectSystem=full\\n' >{DROP_IN}"
        " && systemctl daemon-reload",
        f"rm -r {Path(DROP_IN).parent} && systemctl daemon-reload"
        " && systemctl restart cosyhost-web",
    ),
    "RELEASE-LOCKS": (
        f"cp -a {LOCK} /root/web.txt && sed -i '1s/==[^ ]*/==0.0.1/' {LOCK}",
        f"mv /root/web.txt {LOCK}",
    ),
}
# What follows from the damage: a part that is gone has no process, no figures and no speech; the
# queue's password lies in a readable file; the queue listens to all; a check of the line is cut.
ALSO = {
    "ALERT-TARGETS", "EDGE-413", "EDGE-PAGE", "HOST-DOCTOR", "HOST-LISTEN", "LINK-SPEED",
    "LINK-UPLINK", "MON-EXPORTER-BIND", "SPEECH-AUDIO", "SPEECH-LABEL", "SPEECH-READY",
    "SPEECH-MARK", "SPEECH-STREAM", "SPEECH-TIMING", "STORE-SECRETS", "STORE-USER-DATA",
    "TRAIL-PLAIN", "TRAIL-RECORD", "UNIT-USER",
}  # fmt: skip


def failed(run: Run) -> set[str]:
    """The ids of the checks that the audit's table shows as failed."""
    return set(re.findall(r"^\w+ +([A-Z0-9-]+) .*(?:FAIL|ERROR)$", run.output, re.M))


def report(tier: Tier) -> dict[str, Any]:
    """The last report."""
    found: dict[str, Any] = json.loads((tier.report / "report.json").read_text(encoding="utf-8"))
    return found


def state(tier: Tier) -> str:
    """Packages, which units there are, and since when each of ours runs."""
    return tier.host.run(
        "sh", "-c",
        "dpkg-query --show; systemctl list-unit-files --no-legend; "
        "systemctl show --property=Id,ActiveState,MainPID,NRestarts 'cosyhost-web*' "
        "'cosyhost-worker*' 'cosyhost-exporter*' 'cosyhost-pro*' 'cosyhost-alert*' "
        "cosyhost-retention.timer cosyhost-retention.path nginx redis-server@cosyhost; "
        "find /etc /opt /usr -xdev -printf '%p %m %u %g %s %Ts %l\\n' | sort",
    ).stdout  # fmt: skip


def test_an_audit_changes_nothing(demo: Tier) -> None:
    before = state(demo)
    mark(demo.host)
    run = demo.audit()
    assert run.rc == 0, run.tail
    # One text was spoken: it is in the queue's log, its sound among the outputs, and what it took
    # among the monitoring's figures.
    spoken = ("/var/lib/cosyhost", "/var/lib/redis", "/var/lib/nginx")
    left = [path for path in changes(demo.host) if not path.startswith(spoken)]
    assert left == []
    after = state(demo)
    assert set(before.splitlines()) ^ set(after.splitlines()) == set()


def test_the_report_has_evidence_for_every_row_and_no_password(demo: Tier) -> None:
    document = report(demo)
    assert document["ok"] is True
    assert document["not_run"] == []
    assert [one["name"] for one in document["hosts"]] == [demo.host.name]
    assert document["hosts"][0]["release"] in demo.release()
    bare = [
        row["id"] for row in document["rows"] if not row["evidence"] and row["result"] != "skip"
    ]
    assert bare == []
    folder = "/etc/cosyhost/credentials"
    held = demo.host.run("sh", "-c", f"cat {folder}/redis_password").stdout.strip()
    assert len(held) >= 16
    for path in demo.report.iterdir():
        assert held not in path.read_text(encoding="utf-8"), path


def test_the_audit_names_what_was_changed_by_hand(demo: Tier) -> None:
    canary = f"printf {CANARY} | install -m 400 /dev/stdin /etc/cosyhost/credentials/canary"
    for command in [*DAMAGE.values(), *(done for done, _ in LEFT.values()), canary]:
        demo.host.run("bash", "-ec", command)
    _until_not_ready(demo)
    run = demo.audit()
    assert run.rc == 1, run.tail
    named = failed(run)
    assert {*DAMAGE, *LEFT} <= named, sorted({*DAMAGE, *LEFT} - named)
    assert named <= {*DAMAGE, *LEFT, *ALSO}, sorted(named - {*DAMAGE, *LEFT, *ALSO})
    assert "cosyhost-worker@0.service: inactive (dead)" in run.output
    assert "/etc/cosyhost/credentials/redis_password: 644 root" in run.output
    bad = {row["id"] for row in report(demo)["rows"] if row["result"] in ("fail", "error")}
    assert bad == named
    page = (demo.report / "report.html").read_text(encoding="utf-8")
    assert "max_age_s = 999999999 # [redacted]" in page
    for path in demo.report.iterdir():
        assert CANARY not in path.read_text(encoding="utf-8"), path


def test_site_mends_it(demo: Tier) -> None:
    run = demo.provision()
    assert run.recap(demo.host.name)["changed"] > 0
    assert failed(demo.audit()) == set(LEFT)
    for _, undo in LEFT.values():
        demo.host.run("bash", "-ec", undo)
    demo.host.run("rm", "/etc/cosyhost/credentials/canary")
    _until_scraped(demo)
    run = demo.audit()
    assert run.rc == 0, run.tail


def test_a_waived_row_no_longer_fails_the_audit(demo: Tier) -> None:
    waivers = demo.inventories[-1].parent / "waivers.yml"
    entry = "- {id: QUEUE-PASSWORD, host: 'voice-*', reason: a test, until: 2999-12-31, by: Li}\n"
    demo.host.run("chmod", "644", QUEUE)
    waivers.write_text(entry, encoding="utf-8")
    try:
        run = demo.audit("-k", "queue")
        assert run.rc == 0, run.tail
        assert "waived until 2999-12-31 by Li: a test" in run.output
        waivers.write_text(entry.replace("2999", "2020"), encoding="utf-8")
        run = demo.audit("-k", "queue")
        assert run.rc == 1, run.tail
        assert "its waiver ended on 2020-12-31 (Li: a test)" in run.output
    finally:
        waivers.unlink()
        demo.host.run("chmod", "640", QUEUE)


def test_the_playbook_runs_the_same_audit(demo: Tier, tmp_path: Path) -> None:
    more = {"audit_args": ["-k", "queue or units"], "audit_report": str(tmp_path / "made")}
    run = demo.play("audit", "-e", json.dumps(more))
    assert run.rc == 0, run.tail
    assert "QUEUE-PASSWORD" in run.output
    made = {path.name for path in (tmp_path / "made").iterdir()}
    assert made == {"report.html", "report.json", "junit.xml"}
    assert run.recap("localhost")["failed"] == 0


def _until_not_ready(tier: Tier) -> None:
    """A stopped worker counts until its lease ends."""
    with tier.client() as client:
        for _ in range(60):
            if client.get("/readyz").status_code == 503:
                return
            time.sleep(0.5)
    raise AssertionError("the service says it is ready without a worker")


def _until_scraped(tier: Tier) -> None:
    """A web that was started anew is down to Prometheus until its next scrape."""
    url = "http://127.0.0.1:9090/api/v1/query?query=up"
    ask = f"import urllib.request as r; print(r.urlopen('{url}').read().decode())"
    for _ in range(120):
        if ',"0"]' not in tier.host.run("python3", "-c", ask).stdout:
            return
        time.sleep(0.5)
    raise AssertionError("Prometheus does not reach every target")
