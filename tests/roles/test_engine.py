"""What a host must have for an engine: each lack is one failing assert with its cure."""

from __future__ import annotations

import json
import os
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

# What nvidia-smi prints and its exit status (none: there is no such program), what the inventory
# says, the code of the refusal (none: it passes) and what it must say.
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
    "no such kind": (None, {"engine_kind": "bark"}, "COSY-ENGINE-KIND", "cosyvoice, vllm_omni"),
}


def check(role: str, tmp_path: Path, values: dict[str, Any]) -> str:
    """What the role's preflight said when it refused, else nothing."""
    run = ansible(
        "ansible-playbook", "tests/roles/engine.yml", "-e", json.dumps({"role": role} | values)
    )
    if run.returncode == 0:
        return ""
    assert run.stdout.count("FAILED!") == 1, run.stdout + run.stderr
    return " ".join((run.stdout + run.stderr).split())


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of programs that come first: a disk with room enough, and nvidia-smi where made."""
    tools = tmp_path / "bin"
    tools.mkdir()
    df = tools / "df"
    df.write_text("#!/bin/sh\nprintf 'Avail\\n99000000000\\n'\n")
    df.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    return tools


@pytest.mark.parametrize("case", CASES)
def test_gpus(case: str, roomy: Path, tmp_path: Path) -> None:
    smi, values, code, says = CASES[case]
    if smi is not None:
        program = roomy / "nvidia-smi"
        program.write_text(f"#!/bin/sh\ncat <<'EOF'\n{smi[0]}\nEOF\nexit {smi[1]}\n")
        program.chmod(0o755)
    given = {"engine_kind": "cosyvoice", "engine_accelerator": "cu128", "engine_enabled": True}
    locks = ROOT / "files/requirements/engine"
    given |= values
    given.setdefault(
        "engine_lock", f"{locks}/{given['engine_kind']}-{given['engine_accelerator']}.txt"
    )
    said = check("engine", tmp_path, given)
    assert f"[{code}]" in said if code else said == ""
    assert says in said


@pytest.mark.parametrize(
    ("role", "code"), [("engine", "COSY-ENGINE-DISK"), ("model", "COSY-MODEL-DISK")]
)
def test_a_full_disk(role: str, code: str, roomy: Path, tmp_path: Path) -> None:
    (roomy / "df").write_text("#!/bin/sh\nprintf 'Avail\\n1000000000\\n'\n")
    values = {
        "engine_kind": "cosyvoice",
        "engine_enabled": True,
        "engine_lock": str(ROOT / "files/requirements/engine/cosyvoice-cpu.txt"),
        "model_enabled": True,
        "model_manifest": str(ROOT / "files/models/cosyvoice3-0.5b-2512.json"),
    }
    said = check(role, tmp_path, values)
    assert f"[{code}]" in said
    assert "953.67 MB free" in said


@pytest.mark.parametrize(
    "values",
    [
        {"model_source": "url"},
        {"model_source": "path", "model_location": ""},
        {"model_manifest": "/nowhere.json", "model_source": "modelscope"},
    ],
)
def test_a_model_from_nowhere(values: dict[str, Any], tmp_path: Path) -> None:
    manifest = str(ROOT / "files/models/cosyvoice3-0.5b-2512.json")
    said = check("model", tmp_path, {"model_manifest": manifest} | values)
    assert "[COSY-MODEL-SOURCE]" in said


def test_every_lock_is_whole() -> None:
    """Each requirement of each lock has a version and a hash."""
    for lock in (ROOT / "files/requirements/engine").glob("*-*.txt"):
        text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in filter(None, text.splitlines()):
            if not line.startswith("#"):
                assert "==" in line, (lock.name, line)
                assert "--hash=sha256:" in line, (lock.name, line)
