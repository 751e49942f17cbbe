"""What the worker is made of: limits, slots, the GPU's turns, names of queues."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cosyhost.jobs import MODES, Job, queue_of
from cosyhost.jobs.broker import lists
from cosyhost.jobs.limits import time_limits
from cosyhost.worker import gpu as gpus
from cosyhost.worker.gpu import Turn
from cosyhost.worker.slots import Slots

BOUND_S, LONGEST = 120, 2000
FORK = multiprocessing.get_context("fork")


def limits(text: str, speed: float = 1.0) -> tuple[int, int]:
    job = Job(id="x", mode="zero_shot", text=text, prompt="0", speed=speed)
    found = time_limits(job, LONGEST, BOUND_S)
    return found.soft, found.hard


def test_a_word_gets_a_quarter_of_the_bound_and_the_longest_text_all_of_it() -> None:
    assert limits("好") == (23, 30)
    assert limits("好" * LONGEST) == (110, 120)
    assert limits("好" * LONGEST, speed=0.5) == (110, 120)


def test_limits_grow_with_what_there_is_to_say() -> None:
    assert limits("好" * 200) < limits("好" * 400) < limits("好" * 400, speed=0.5)
    assert limits("word " * 120) == limits("好" * 200)


@pytest.mark.parametrize("bound", [15, 20, 30, 120, 1800])
def test_the_soft_limit_comes_first_and_the_hard_one_within_the_bound(bound: int) -> None:
    for text in ("a", "好" * 300, "好" * LONGEST):
        job = Job(id="x", mode="zero_shot", text=text, prompt="0")
        found = time_limits(job, LONGEST, bound)
        assert 0 < found.soft < found.hard <= bound


def test_each_mode_has_its_queue_and_lists() -> None:
    assert {queue_of(mode) for mode in MODES} <= set(lists())
    assert len(set(lists())) == 2 * len(MODES)


def test_a_parent_sees_what_its_child_writes_and_that_it_is_gone() -> None:
    slots = Slots(2)
    assert not slots[1].is_alive()

    def child() -> None:
        slots[1].begin()
        slots[1].loaded()
        slots[1].not_loaded("engine_failed")
        time.sleep(60)

    process = FORK.Process(target=child)
    process.start()
    deadline = time.monotonic() + 10
    while not slots[1].failures and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (slots[1].pid, slots[1].problem, slots[1].failures) == (process.pid, b"engine_failed", 1)
    assert slots[1].is_alive()
    assert not slots[0].is_alive()
    process.kill()
    deadline = time.monotonic() + 10
    while slots[1].is_alive() and time.monotonic() < deadline:  # a zombie counts as gone
        time.sleep(0.01)
    assert not slots[1].is_alive()
    process.join()


def test_the_gpu_is_shared_or_somebodys_alone() -> None:
    turn, told = Turn(), FORK.Queue()

    def child(how: str) -> None:
        with getattr(turn, how)():
            told.put((how, "in"))
            time.sleep(1)
            told.put((how, "out"))

    def run(*hows: str) -> list[tuple[str, str]]:
        processes = []
        for how in hows:
            processes.append(FORK.Process(target=child, args=(how,)))
            processes[-1].start()
            time.sleep(0.3)
        for process in processes:
            process.join()
        return [told.get(timeout=5) for _ in range(2 * len(hows))]

    shared = [("shared", "in"), ("shared", "in"), ("shared", "out"), ("shared", "out")]
    assert run("shared", "shared") == shared
    # The third comes while the second waits for the first, and must not push in.
    assert run("shared", "alone", "shared") == [
        ("shared", "in"), ("shared", "out"), ("alone", "in"), ("alone", "out"),
        ("shared", "in"), ("shared", "out"),
    ]  # fmt: skip


def test_who_dies_with_the_gpu_keeps_nobody_waiting() -> None:
    turn, told = Turn(), FORK.Queue()

    def child() -> None:
        with turn.alone():
            told.put("in")
            time.sleep(60)

    process = FORK.Process(target=child)
    process.start()
    assert told.get(timeout=10) == "in"
    process.kill()
    process.join()
    with turn.alone():
        pass


@pytest.mark.parametrize(
    ("said", "cores", "children"),
    [
        ("16160", 8, 3),  # V100 16 GB
        ("16160", 2, 2),
        ("24564", 64, 5),
        ("8192", 8, 1),
        ("2048", 8, 1),
        ("[N/A]", 8, 1),
    ],
)
def test_children_by_the_gpus_memory(
    said: str, cores: int, children: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's own program is stood in for: no GPU is asked here."""
    program = tmp_path / "nvidia-smi"
    program.write_text(
        f"#!/bin/sh\n[ \"$*\" = '{' '.join(gpus._QUERY[1:])} --id=1' ] && echo '{said}'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert gpus.children_for("auto", "1") == children
    assert gpus.children_for(4, "1") == 4


def test_without_a_gpu_there_is_one_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.children_for("auto", "0") == 1


def test_the_parent_of_a_worker_imports_nothing_that_touches_a_gpu() -> None:
    code = "import sys; from cosyhost import worker; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
