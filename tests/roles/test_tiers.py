"""Each tier renders, satisfies the specs, and says what the design's tier table says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import tomllib

from cosyhost import host_config
from tests.debs import program
from tests.roles.conftest import ROLES, ROOT, TIERS, ansible, load, spec_of

MB = 1024 * 1024
# The design's tier table. Megabytes, seconds, jobs; gzip for WAV on the speech route, brotli;
# who is asked for consent, days of the trail; what the outputs may hold; Mbit/s of the ports, of
# the line, and those that a transfer must show.
TABLE: dict[str, dict[str, Any]] = {
    "local": {
        "limit": 10 * MB,
        "patience": 60,
        "jobs": 1,
        "waiting": 8,
        "wav": True,
        "br": False,
        "button": "everyone",
        "consent": "none",
        "trail": 30,
        "quota": 5_000_000_000,
        "nominal": 0,
        "uplink": 0,
        "link": 0,
    },
    "lan": {
        "limit": 20 * MB,
        "patience": 60,
        "jobs": 2,
        "waiting": 16,
        "wav": False,
        "br": False,
        "button": "everyone",
        "consent": "asked",
        "trail": 180,
        "quota": 50_000_000_000,
        "nominal": 1000,
        "uplink": 1000,
        "link": 0,
    },
    "demo": {
        "limit": 10 * MB,
        "patience": 300,
        "jobs": 2,
        "waiting": 16,
        "wav": True,
        "br": True,
        "button": "admin",
        "consent": "asked",
        "trail": 180,
        "quota": 5_000_000_000,
        "nominal": 0,
        "uplink": 50,
        "link": 50,
    },
    "production": {
        "limit": 10 * MB,
        "patience": 300,
        "jobs": "auto",
        "waiting": 200,
        "wav": True,
        "br": True,
        "button": "nobody",
        "consent": "required",
        "trail": 365,
        "quota": 200_000_000_000,
        "nominal": 0,
        "uplink": 100,
        "link": 100,
    },
}
GROUPS = {"edge", "web", "worker", "queue", "monitor"}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Every template of every tier, as the tier's first host would get it."""
    values = {
        "render_templates": [str(path) for path in ROOT.glob("roles/*/templates/*.j2")],
        # A queue on several hosts is refused; what it would look like is still worth a look.
        "redis_hosts": ["one"],
        "service_web_enabled": True,
        "service_worker_enabled": True,
        # What the role service tells the role release.
        "release_parts": ["web", "worker"],
        "release_units": ["cosyhost-worker@0", "cosyhost-web"],
        "__firewall_ssh_ports": [22],
    }
    result = {}
    for tier in TIERS:
        folder = tmp_path_factory.mktemp(tier)
        inventory = folder / "inventory"
        shutil.copytree(
            ROOT / "inventories" / tier, inventory, ignore=shutil.ignore_patterns("secrets")
        )
        first = "edge1" if tier == "production" else f"voice-{tier}"
        run = ansible(
            "ansible-playbook",
            *("-i", inventory, "--limit", first, "tests/roles/render.yml"),
            *("-e", json.dumps(values | {"render_to": str(folder)})),
        )
        assert run.returncode == 0, run.stdout + run.stderr
        assert "WARNING" not in run.stdout + run.stderr
        result[tier] = json.loads((folder / f"{first}.json").read_text(encoding="utf-8"))
    return result


@pytest.mark.parametrize("tier", TIERS)
def test_inventory_parses_and_has_its_groups(tier: str) -> None:
    run = ansible("ansible-inventory", "-i", f"inventories/{tier}", "--graph")
    assert run.returncode == 0
    assert set(re.findall(r"@(\w+):", run.stdout)) >= GROUPS
    assert run.stderr == ""


@pytest.mark.parametrize("tier", TIERS)
def test_group_vars_are_named_after_the_role_they_steer(tier: str) -> None:
    for path in (ROOT / "inventories" / tier / "group_vars").rglob("*.yml"):
        assert path.stem in ROLES, path
        assert set(load(path)) <= set(spec_of(path.stem)), path


def test_every_tier_is_in_the_table() -> None:
    assert set(TIERS) == set(TABLE)


@pytest.mark.parametrize("tier", TIERS)
def test_tiers_have_the_same_variables(tier: str) -> None:
    def names(name: str) -> set[str]:
        folder = ROOT / "inventories" / name / "group_vars"
        return {key for path in folder.rglob("*.yml") for key in load(path)}

    assert names(tier) == names("lan")


@pytest.mark.parametrize("tier", TIERS)
def test_the_edge_follows_the_tier_table(tier: str, rendered: Any) -> None:
    site, want = rendered[tier]["site.conf"], TABLE[tier]
    assert f"client_max_body_size {want['limit']};" in site
    assert f"client_body_timeout {want['patience']}s;" in site
    assert ("brotli on;" in site) == want["br"]
    assert ("audio/wav" in site) == want["wav"]
    assert "gzip on;" in site


@pytest.mark.parametrize("tier", TIERS)
def test_the_service_follows_the_tier_table(tier: str, rendered: Any) -> None:
    config, want = tomllib.loads(rendered[tier]["cosyhost.toml"]), TABLE[tier]
    assert config["tier"] == tier
    assert config["limits"]["body_bytes"] == want["limit"]
    assert config["limits"]["waiting_jobs"] == want["waiting"]
    assert config["jobs"]["children"] == want["jobs"]
    assert config["studio"]["restart_button"] == want["button"]
    assert config["label"] == {"producer": "CosyHost", "audible_mark": "none"}
    assert config["consent"] == want["consent"]
    assert config["link"] == {"min_up_mbit": want["link"], "min_down_mbit": want["link"]}


@pytest.mark.parametrize("tier", TIERS)
def test_the_trail_is_kept_as_long_as_the_tier_says(
    tier: str, rendered: Any, tmp_path: Path
) -> None:
    """By systemd-tmpfiles itself; whoever reads a file makes it no younger."""
    assert "LogsDirectory=cosyhost-trail\n" in rendered[tier]["cosyhost-web.service"]
    assert "LogsDirectory" not in rendered[tier]["cosyhost-worker@.service"]
    folder, days = tmp_path / "trail", TABLE[tier]["trail"]
    folder.mkdir()
    ages = {"trail-2025-01-01.jsonl": days + 1, "trail-2025-01-02.jsonl": days - 1, ".key": 9999}
    for name, age in ages.items():
        (folder / name).write_text("x")
        os.utime(folder / name, (time.time(), time.time() - age * 86400))
    told = rendered[tier]["cosyhost-outputs.conf"].replace("/var/log/cosyhost-trail", str(folder))
    (tmp_path / "only.conf").write_text(
        "".join(line + "\n" for line in told.splitlines() if str(folder) in line)
    )
    subprocess.run(["systemd-tmpfiles", "--clean", tmp_path / "only.conf"], check=True)
    assert sorted(path.name for path in folder.iterdir()) == [".key", "trail-2025-01-02.jsonl"]


@pytest.mark.parametrize("tier", TIERS)
def test_the_exporter_follows_the_tier_table(tier: str, rendered: Any, tmp_path: Path) -> None:
    path, want = tmp_path / "exporter.toml", TABLE[tier]
    path.write_text(rendered[tier]["exporter.toml"], encoding="utf-8")
    told = host_config.load(path)
    assert told.network.nominal_mbit == want["nominal"]
    assert told.network.uplink_up_mbit == told.network.uplink_down_mbit == want["uplink"]
    assert told.outputs.quota_bytes == want["quota"]
    unit = rendered[tier]["cosyhost-exporter.service"]
    assert ("PrivateDevices=yes" in unit) == (told.gpus.expected == 0)


@pytest.mark.parametrize("tier", TIERS)
def test_the_firewall_opens_the_doors_to_the_tiers_networks_and_the_rest_to_peers(
    tier: str, rendered: Any
) -> None:
    told = load(ROOT / f"inventories/{tier}/group_vars/all/edge.yml")["edge_allow"]
    networks = [None if one == "all" else one for one in told]
    want = {(port, network) for port in ("80", "443") for network in networks}
    if tier == "production":  # an edge: its monitor asks its exporters
        want |= {(port, "192.0.2.19") for port in ("7861", "9100", "9113")}
    said = rendered[tier]["firewall.nft"]
    found = re.findall(r"(?m)^\t\t(?:ip6? saddr (\S+) )?(?:tcp|udp) dport (\d+) accept$", said)
    assert {(port, network or None) for network, port in found} == want
    assert "tcp dport { 22 } accept" in said
    assert "policy drop;" in said


def test_no_unit_is_more_exposed_than_it_may_be(rendered: Any, tmp_path: Path) -> None:
    """By systemd's own reckoning, from the files; docs/hardening.md has the table."""
    units = {name: text for name, text in rendered["demo"].items() if name.endswith(".service")}
    worker = units["cosyhost-worker@.service"]
    # With a GPU it sees the devices: the one difference there is.
    units["cosyhost-worker-gpu@.service"] = worker.replace("PrivateDevices=yes\n", "")
    assert units["cosyhost-worker-gpu@.service"] != worker
    wrong = []
    for name, text in units.items():
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        strict = name.startswith(("cosyhost-web", "cosyhost-exporter", "cosyhost-retention"))
        limit = "20" if strict else "35"
        judge = ["systemd-analyze", "security", "--offline=true", f"--threshold={limit}"]
        ran = subprocess.run(
            [*judge, "--no-pager", path], capture_output=True, text=True, check=False
        )
        if ran.returncode:
            wrong.append(f"{name}: {(ran.stdout + ran.stderr).strip().splitlines()[-1]}")
    assert wrong == []


@pytest.mark.parametrize("tier", TIERS)
def test_every_directive_of_the_sources_snippet_is_there(tier: str, rendered: Any) -> None:
    site = rendered[tier]["site.conf"]
    for directive in ("listen ", "server_name ", "gzip on;", "X-Real-IP $remote_addr;"):
        assert directive in site
    for kind in ("application/json", "text/css", "text/javascript"):
        assert re.search(rf"gzip_types [^;]*{kind}", site)
    assert "127.0.0.1:7860" in site


@pytest.mark.parametrize("tier", TIERS)
def test_the_service_reads_the_rendered_file(tier: str, rendered: Any, tmp_path: Path) -> None:
    config = pytest.importorskip("cosyhost.config")
    path = tmp_path / "cosyhost.toml"
    path.write_text(rendered[tier]["cosyhost.toml"], encoding="utf-8")
    assert config.load(path).tier == tier


@pytest.mark.parametrize("tier", TIERS)
def test_the_password_is_in_one_template_only(tier: str, rendered: Any) -> None:
    found = re.search(r"(?m)^requirepass (\S{32})$", rendered[tier]["redis.conf"])
    assert found
    holders = [name for name, text in rendered[tier].items() if found[1] in text]
    assert holders == ["redis.conf"]


def test_nginx_and_systemd_get_no_blank_values(rendered: Any) -> None:
    for tier, files in rendered.items():
        for name, text in files.items():
            assert "None" not in text, (tier, name)
            # The rules' braces are Prometheus' own.
            assert "{{" not in text or name == "rules.yml", (tier, name)


@pytest.mark.parametrize("tier", TIERS)
def test_prometheus_takes_its_configuration_and_every_target_is_named(
    tier: str, rendered: Any, tmp_path: Path
) -> None:
    path = tmp_path / "prometheus.yml"
    path.write_text(rendered[tier]["prometheus.yml"], encoding="utf-8")
    promtool = str(program("prometheus", "promtool"))
    check = [promtool, "check", "config", "--syntax-only", str(path)]
    ran = subprocess.run(check, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    jobs = {job["job_name"]: job["static_configs"] for job in load(path)["scrape_configs"]}
    assert set(jobs) == {
        "cosyhost", "web", "node", "nginx", "redis", "blackbox", "prometheus", "alertmanager",
    }  # fmt: skip
    hosts = load(ROOT / "inventories" / tier / "hosts.yml")["all"]
    edges = hosts["children"]["edge"]["hosts"]
    for target in (one for job in jobs.values() for one in job):
        assert target["labels"]["tier"] == tier
        assert len(target["targets"]) == 1
    assert {one["labels"]["instance"] for one in jobs["nginx"]} == set(edges)
    assert len(jobs["blackbox"]) == 2 * len(edges)
    for one in jobs["blackbox"]:
        assert one["labels"]["instance"].startswith("http://")
        assert one["labels"]["__param_target"] == one["labels"]["instance"]
