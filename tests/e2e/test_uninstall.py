"""uninstall.yml leaves nothing but data, and that too when asked."""

from __future__ import annotations

from tests import prompts
from tests.e2e.tier import Tier

GONE = (
    "/opt/cosyhost", "/etc/cosyhost", "/etc/nginx/conf.d/cosyhost.conf",
    "/etc/nginx/cosyhost-error.html", "/etc/redis/redis-cosyhost.conf",
    "/etc/systemd/system/cosyhost-web.service", "/etc/systemd/system/cosyhost-worker@.service",
    "/etc/systemd/system/cosyhost-exporter.service", "/usr/local/bin/cosyhost",
    "/etc/tmpfiles.d/cosyhost.conf", "/etc/sysctl.d/60-cosyhost.conf",
    "/etc/systemd/system/cosyhost-grafana.service", "/var/cache/cosyhost-grafana",
    "/etc/tmpfiles.d/cosyhost-outputs.conf",
    "/etc/systemd/system/cosyhost-.service.d", "/etc/systemd/journald@cosyhost.conf",
    "/etc/systemd/system/redis-server@cosyhost.service.d", "/var/log/cosyhost",
    "/var/lib/cosyhost-logrotate", "/opt/cosyhost/tls", "/etc/systemd/system/cosyhost-tls.timer",
)  # fmt: skip

DATA = (
    "/var/lib/cosyhost", "/var/lib/redis/cosyhost", "/var/lib/cosyhost-prometheus",
    "/var/lib/cosyhost-alertmanager", "/var/lib/private/cosyhost-grafana",
    "/var/log/cosyhost-trail", "/var/lib/cosyhost-tls",
)  # fmt: skip


def found(tier: Tier, *paths: str) -> list[str]:
    """Those of the paths that are there."""
    said = tier.host.run("sh", "-c", 'ls -d "$@" 2>/dev/null || true', "ls", *paths)
    return said.stdout.split()


def processes(tier: Tier) -> list[str]:
    """Ours, and those that came with us."""
    said = tier.host.run("ps", "-e", "-o", "comm=").stdout.split()
    ours = ("cosyhost", "nginx", "redis-server", "celery", "prometheus")
    return [name for name in said if name.startswith(ours)]


def test_uninstall_leaves_data_only(demo: Tier, prompt: bytes) -> None:
    with demo.client() as client:
        made = client.post(
            "/v1/audio/voices",
            data={"name": "kept", "ref_text": prompts.TRANSCRIPT, "consent": "test"},
            files={"audio_sample": ("prompt.wav", prompt)},
        )
    assert made.status_code == 200, made.text
    before = demo.stored()
    run = demo.play("uninstall")
    assert run.rc == 0, run.tail
    assert found(demo, *GONE) == []
    assert processes(demo) == []
    assert demo.host.run("sh", "-c", "ls /var/log/journal | grep cosyhost; true").stdout == ""
    list_units = ("systemctl", "list-units", "--all", "--plain", "--no-legend", "--type=service")
    assert demo.host.run(*list_units, "*cosyhost*").stdout == ""
    assert demo.stored() == before != []
    assert demo.host.run("id", "cosyhost", check=False).returncode == 0


def test_a_second_uninstall_changes_nothing(demo: Tier) -> None:
    run = demo.play("uninstall")
    assert run.rc == 0, run.tail
    assert run.recap(demo.host.name)["changed"] == 0, run.tail


def test_the_service_comes_back_with_its_voices(demo: Tier) -> None:
    demo.provision()
    with demo.client() as client:
        assert "kept" in client.get("/v1/audio/voices").json()["voices"]


def test_purge_takes_the_data_and_the_user_too(demo: Tier) -> None:
    run = demo.play("uninstall", "-e", "purge=true")
    assert run.rc == 0, run.tail
    assert found(demo, *GONE, *DATA) == []
    assert processes(demo) == []
    assert demo.host.run("id", "cosyhost", check=False).returncode != 0
    packages = demo.host.run("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n").stdout
    brought = (
        "nginx", "redis-server", "espeak-ng", "prometheus", "prometheus-node-exporter", "grafana",
    )  # fmt: skip
    left = [name for name in brought if f"\n{name} " in packages]
    assert left == []


def test_what_is_left_is_a_clean_host(demo: Tier) -> None:
    assert demo.host.run("systemctl", "is-system-running").stdout.strip() == "running"
    left = demo.host.run(
        "find", "/etc", "/opt", "/var/lib", "/var/cache", "/usr/local", "-xdev",
        "-iname", "*cosyhost*",
    )  # fmt: skip
    assert left.stdout == ""
