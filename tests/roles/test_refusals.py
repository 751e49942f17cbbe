"""A wrong inventory is one failing assert that names the mistake and its cure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.roles.conftest import ansible

# What to write where, and what the refusal must say.
MISTAKES = {
    "misspelt": (
        "group_vars/all/edge.yml",
        "edge_bodylimit_bytes: 1\n",
        "COSY-INV-UNKNOWN-VARIABLE",
        "edge_bodylimit_bytes (did you mean edge_body_limit_bytes",
    ),
    "misspelt prefix": (
        "group_vars/all/edge.yml",
        "egde_listen: []\n",
        "COSY-INV-UNKNOWN-VARIABLE",
        "egde_listen (did you mean edge_listen?)",
    ),
    "misspelt for one group": (
        "group_vars/worker/service.yml",
        "service_job_per_gpu: 3\n",
        "COSY-INV-UNKNOWN-VARIABLE",
        "service_jobs_per_gpu",
    ),
    "no host in a group": (
        "hosts.yml",
        "all: {children: {edge: &on {hosts: {a: }}, web: , worker: *on, monitor: *on}}",
        "COSY-INV-EMPTY-GROUP",
        "in the group(s) web, queue.",
    ),
}


def refusal(inventory: Path) -> str:
    run = ansible("ansible-playbook", "-i", inventory, "playbooks/preflight.yml")
    assert run.returncode == 2, run.stdout + run.stderr
    assert run.stdout.count("FAILED!") == 1
    return " ".join(run.stdout.split())


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_refused_with_its_cure(mistake: str, tier_copy: Any) -> None:
    file, text, code, says = MISTAKES[mistake]
    inventory: Path = tier_copy("local")
    before = "" if file == "hosts.yml" else (inventory / file).read_text(encoding="utf-8")
    (inventory / file).write_text(before + text, encoding="utf-8")
    said = refusal(inventory)
    assert f"[{code}]" in said
    assert says in said


def test_an_address_nobody_filled_in_is_refused_naming_the_file(tier_copy: Any) -> None:
    said = refusal(tier_copy("lan"))
    assert "[COSY-INV-PLACEHOLDER-ADDRESS]" in said
    assert "192.0.2.10" in said
    assert "hosts.yml" in said


def test_an_empty_inventory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all: {}\n", encoding="utf-8")
    assert "[COSY-INV-EMPTY-GROUP]" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"service_label_producer": "Two words"}, "[COSY-SERVICE-VALUES]"),
        ({"service_label_producer": "克隆服务"}, "[COSY-SERVICE-VALUES]"),
        ({"service_label_producer": "a\\b"}, "[COSY-SERVICE-VALUES]"),
        ({"service_label_producer": 'a"b'}, "[COSY-SERVICE-VALUES]"),
        ({"service_label_producer": ""}, "[COSY-SERVICE-VALUES]"),
        ({"service_label_producer": "x" * 65}, "[COSY-SERVICE-VALUES]"),
        ({"service_audible_mark": "both"}, "service_audible_mark must be one of"),
        ({"service_label_producer": "[!#001191110102MAD55U9H0F10002~^]"}, None),
    ],
)
def test_a_label_that_no_file_can_hold_is_refused(values: dict[str, str], says: str | None) -> None:
    run = ansible(
        "ansible", "localhost", "-i", "localhost,", "-c", "local",
        "-m", "ansible.builtin.include_role", "-a", "name=service tasks_from=preflight",
        "-e", json.dumps(values | {"ansible_facts": {"python": {"version_info": [3, 11, 2]}}}),
    )  # fmt: skip
    if says is None:
        assert "COSY-SERVICE-VALUES" not in run.stdout, run.stdout
    else:
        assert run.returncode != 0
        assert says in run.stdout, run.stdout
