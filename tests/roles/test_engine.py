"""What a host must have for an engine: each lack is one failing assert with its cure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.roles.conftest import ROOT, ansible

# As `nvidia-smi --query-gpu=... --format=csv,noheader,nounits` prints them.
V100 = "{}, GPU-4c1f, Tesla V100-SXM2-16GB, {}, 7.0, 16384"
P100 = "{}, GPU-77aa, Tesla P100-PCIE-16GB, {}, 6.0, 16384"
T4 = "{}, GPU-9bd0, Tesla T4, {}, 7.5, 15360"
NEW, OLD = "550.163.01", "470.256.02"
NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that "
    "the latest NVIDIA driver is installed and running."
)

# What nvidia-smi prints and its exit status (none: no such program; "df": the disk is full),
# what the inventory says, the code of the refusal (none: it passes) and what it must say.
CASES: dict[str, tuple[tuple[str, int] | None, dict[str, Any], str, str]] = {
    "no program": (None, {}, "COSY-ENGINE-GPU", "engine_accelerator: cpu for a trial"),
    "no driver": ((NO_DRIVER, 9), {}, "COSY-ENGINE-GPU", "couldn't communicate"),
    "no devices": (("No devices were found", 6), {}, "COSY-ENGINE-GPU", "shows none"),
    "one of two": (
        (V100.format(0, NEW), 0),
        {"engine_gpus": ["0", "1"]},
        "COSY-ENGINE-GPU",
        "should have the GPU(s) 0, 1 and shows 0",
    ),
    "old driver": ((V100.format(0, OLD), 0), {}, "COSY-ENGINE-DRIVER", f"{OLD}; cu128 needs 525"),
    "old GPU": ((P100.format(0, NEW), 0), {}, "COSY-ENGINE-CAPABILITY", "6.0; cu128 needs 7.0"),
    "too little memory": (
        (V100.format(0, NEW), 0),
        {"engine_children": 4},
        "COSY-ENGINE-VRAM",
        "GPU 0 has 16384 MiB; 4 model(s) at once need 20000 MiB",
    ),
    "memory not told": (
        ("0, GPU-1, GRID, 550.54, 8.0, [N/A]", 0),
        {},
        "COSY-ENGINE-VRAM",
        "service_jobs_per_gpu",
    ),
    "the second of two is too small": (
        (f"{V100.format(0, NEW)}\n1, GPU-2, GTX 1650, {NEW}, 7.5, 4096", 0),
        {"engine_gpus": ["0", "1"]},
        "COSY-ENGINE-VRAM",
        "GPU 1 has 4096 MiB",
    ),
    "three models on a V100": ((V100.format(0, NEW), 0), {"engine_children": 3}, "", ""),
    "two GPUs, one by its UUID": (
        (f"{V100.format(0, NEW)}\n{T4.format(1, NEW)}", 0),
        {"engine_gpus": ["0", "GPU-9bd0"], "engine_children": 2},
        "",
        "",
    ),
    "a warning before the rows": ((f"Warning: persistence\n{T4.format(0, NEW)}", 0), {}, "", ""),
    "cpu asks for no GPU": (None, {"engine_accelerator": "cpu"}, "", ""),
    "vllm on a V100": (
        (V100.format(0, "590.48"), 0),
        {"engine_kind": "vllm_omni", "engine_accelerator": "cu130"},
        "COSY-ENGINE-CAPABILITY",
        "V100 and newer work with kind cosyvoice on cu128",
    ),
    "vllm needs a newer driver": (
        (T4.format(0, NEW), 0),
        {"engine_kind": "vllm_omni", "engine_accelerator": "cu130"},
        "COSY-ENGINE-DRIVER",
        "cu130 needs 580.65.06",
    ),
    "vllm would be open to all": (
        None,
        {
            "engine_kind": "vllm_omni",
            "engine_accelerator": "cu130",
            "engine_url": "http://0.0.0.0:8091",
        },
        "COSY-ENGINE-URL",
        "loopback only",
    ),
    "no lock for it": (
        None,
        {"engine_accelerator": "cu999", "engine_lock": "/nowhere"},
        "COSY-ENGINE-ACCELERATOR",
        "cpu, cu128",
    ),
    "a branch": (
        None,
        {"engine_accelerator": "cpu", "engine_upstream_commit": "main"},
        "COSY-ENGINE-COMMIT",
        "'main'; a branch or tag can move",
    ),
    "no such kind": (None, {"engine_kind": "bark"}, "COSY-ENGINE-KIND", "cosyvoice, vllm_omni"),
    "a full disk for the engine": (
        ("df", 0),
        {"engine_accelerator": "cpu"},
        "COSY-ENGINE-DISK",
        "has 953.67 MB free below /opt",
    ),
    "a full disk for the model": (
        ("df", 0),
        {"role": "model", "model_enabled": True},
        "COSY-MODEL-DISK",
        "has 953.67 MB free",
    ),
    "a url without an address": (
        None,
        {"role": "model", "model_source": "url"},
        "COSY-MODEL-SOURCE",
        "need a location",
    ),
    "a bundle without the model": (
        None,
        {"role": "model", "model_enabled": True, "model_bundle": "/nowhere"},
        "COSY-MODEL-BUNDLE",
        "Run bundle.yml again",
    ),
    "a bundle for another kind": (
        None,
        {"engine_accelerator": "cpu", "engine_bundle": "/nowhere"},
        "COSY-ENGINE-BUNDLE",
        "not made for kind cosyvoice on cpu",
    ),
    "no manifest": (
        None,
        {"role": "model", "model_manifest": "/nowhere.json"},
        "COSY-MODEL-SOURCE",
        "/nowhere.json",
    ),
}


def script(path: Path, text: str) -> None:
    """A program that can be run."""
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each case was told when it was refused, else nothing; one run for all."""
    folder = tmp_path_factory.mktemp("engine")
    hosts: dict[str, dict[str, Any]] = {}
    for number, (smi, values, _, _) in enumerate(CASES.values()):
        programs = folder / f"case{number}"
        programs.mkdir()
        full = smi == ("df", 0)
        script(programs / "df", f"printf 'Avail\\n{1 if full else 99}000000000\\n'")
        if smi and not full:
            script(programs / "nvidia-smi", f"cat <<'EOF'\n{smi[0]}\nEOF\nexit {smi[1]}")
        given = {
            "role": "engine",
            "engine_kind": "cosyvoice",
            "engine_accelerator": "cu128",
            "engine_enabled": True,
            "model_manifest": str(ROOT / "files/models/cosyvoice3-0.5b-2512.json"),
        } | values
        lock = f"engine/{given['engine_kind']}-{given['engine_accelerator']}.txt"
        given.setdefault("engine_lock", str(ROOT / "files/requirements" / lock))
        hosts[f"case{number}"] = given | {"programs": str(programs)}
    inventory = folder / "hosts.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    run = ansible("ansible-playbook", "-i", inventory, "tests/roles/engine.yml")
    assert run.returncode == 0, run.stdout + run.stderr
    result = {}
    for number, case in enumerate(CASES):
        told = folder / f"case{number}/said"
        result[case] = " ".join(told.read_text("utf-8").split()) if told.exists() else ""
    return result


@pytest.mark.parametrize("case", CASES)
def test_conditions(case: str, said: dict[str, str]) -> None:
    _, _, code, says = CASES[case]
    assert (f"[{code}]" in said[case]) if code else said[case] == ""
    assert says in said[case]


def test_every_lock_is_whole() -> None:
    """Each requirement of each lock has a version and a hash."""
    for lock in (ROOT / "files/requirements/engine").glob("*-*.txt"):
        text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in filter(None, text.splitlines()):
            if not line.startswith("#"):
                assert "==" in line, (lock.name, line)
                assert "--hash=sha256:" in line, (lock.name, line)
