"""Readings of the machine: on links that are down, recreated, virtual or many; and on disks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pynvml
import pytest

from cosyhost.host import gpu, network, storage
from tests.netns import Namespace, namespace, needs_root, port

LINKS = """
from dataclasses import asdict
from cosyhost.host import network
result = {one.device: asdict(one.link) for one in network.interfaces()}
"""
# An interface is removed and made again between two readings of one process.
RECREATED = """
import socket, subprocess
from cosyhost.host import network
import psutil

def sent():
    told = network.counters()["v0"].transmit_bytes
    with open("/sys/class/net/v0/statistics/tx_bytes") as kernel:
        return told, int(kernel.read()), psutil.net_io_counters(pernic=True)["v0"].bytes_sent

def remake(packets):
    steps = ["link del v0"] if packets == 1 else []
    steps += ["link add v0 type veth peer name v1", "address add 10.9.9.1/24 dev v0"]
    steps += ["neigh add 10.9.9.7 lladdr 02:00:00:00:00:07 dev v0"]
    steps += ["link set v1 up", "link set v0 up"]
    subprocess.run(["ip", "-batch", "-"], input="\\n".join(steps), text=True, check=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for _ in range(packets):
            out.sendto(bytes(1000), ("10.9.9.7", 9))

remake(9)
first = sent()
remake(1)
result = [first, sent()]
"""


@pytest.fixture(scope="module")
def broken() -> Iterator[Namespace]:
    """A network with one link of each sort that has a trap."""
    with namespace() as here:
        here.batch(
            "link add veth-a type veth peer name veth-b",
            "link set veth-a up",
            "link set veth-b up",
            "link add down0 type bridge",
            "link add bridge0 type bridge",
            "link set veth-b master bridge0",
            "link set bridge0 up",
        )
        yield here


@needs_root
def test_links_that_are_down_or_virtual_have_no_speed(broken: Namespace) -> None:
    with port(broken, "tap-new", 10, "full"):  # as its driver makes it
        links: dict[str, dict[str, Any]] = broken.python(LINKS)
    down = links["down0"]
    assert (down["up"], down["carrier"], down["speed_mbit"]) == (False, False, None)
    assert down["duplex"] == "unknown"
    for device in ("veth-a", "veth-b", "bridge0", "tap-new", "lo"):
        assert links[device]["speed_mbit"] is None, device
        assert not links[device]["wired"], device
    assert links["veth-a"]["carrier"]
    assert links["veth-a"]["carrier_changes"] > 0


@needs_root
def test_a_port_that_negotiated_100_says_so(broken: Namespace) -> None:
    with port(broken, "tap-100", 100, "full"), port(broken, "tap-half", 100, "half"):
        links = broken.python(LINKS)
    assert (links["tap-100"]["speed_mbit"], links["tap-100"]["duplex"]) == (100, "full")
    assert (links["tap-half"]["speed_mbit"], links["tap-half"]["duplex"]) == (100, "half")


@needs_root
def test_a_port_without_a_cable_is_up_and_has_no_speed(broken: Namespace) -> None:
    broken.batch("tuntap add mode tap name unplugged", "link set unplugged up")
    link = broken.python(LINKS)["unplugged"]
    assert (link["up"], link["carrier"], link["speed_mbit"]) == (True, False, None)


@needs_root
def test_a_recreated_interface_counts_from_nothing() -> None:
    with namespace() as here:
        first, second = here.python(RECREATED)
    assert first[0] == first[1] > 9000
    assert 0 < second[0] == second[1] < first[0]
    assert second[2] > first[0], "psutil's default no longer goes on counting: drop the remark"


@needs_root
def test_two_hundred_interfaces_are_all_read() -> None:
    with namespace() as here:
        here.batch(*(f"link add a{n} type veth peer name b{n}" for n in range(100)))
        assert len(here.python(LINKS)) == 201


def test_an_interface_that_is_gone_is_no_link() -> None:
    assert network.link("gone0") is None


@needs_root
def test_the_default_routes_device_is_found(tmp_path: Path) -> None:
    ask = "from cosyhost.host import network; result = network.default_device()"
    with namespace() as here:
        assert here.python(ask) is None
        here.batch("link add a0 type bridge", "link add b0 type bridge")
        here.batch("address add 10.9.1.1/24 dev a0", "address add 10.9.2.1/24 dev b0")
        here.batch("link set a0 up", "link set b0 up")
        here.batch("route add ::/0 dev b0", "route add unreachable ::/0 metric 1")
        assert here.python(ask) == "b0"
        here.batch("route add default via 10.9.2.2 metric 200", "route add default dev a0 metric 9")
        assert here.python(ask) == "a0"


def test_a_folder_is_added_up_and_no_link_followed(tmp_path: Path) -> None:
    outputs, elsewhere = tmp_path / "outputs", tmp_path / "elsewhere"
    (outputs / "ab").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "large").write_bytes(bytes(100_000))
    (outputs / "new").write_bytes(bytes(10))
    (outputs / "ab" / "old").write_bytes(bytes(500))
    os.utime(outputs / "ab" / "old", (1_000_000, 1_000_000))
    (outputs / "folder").symlink_to(elsewhere)
    (outputs / "file").symlink_to(elsewhere / "large")
    assert storage.contents(outputs) == storage.Contents(2, 510, 1_000_000, 0)
    assert storage.contents(elsewhere / "large") is None
    assert storage.contents(tmp_path / "none") is None
    (tmp_path / "empty").mkdir()
    assert storage.contents(tmp_path / "empty") == storage.Contents(0, 0, None, 0)


def test_room_is_what_an_ordinary_user_may_write(tmp_path: Path) -> None:
    room = storage.filesystem(tmp_path)
    assert room is not None
    said = os.statvfs(tmp_path)
    assert room.size_bytes == said.f_blocks * said.f_frsize
    assert 0 < room.free_bytes <= said.f_bfree * said.f_frsize + (64 << 20)
    assert storage.filesystem(tmp_path / "none") is None


def test_without_a_driver_there_is_a_reason_each_time() -> None:
    nvml = gpu.Nvml()
    if nvml.read().reason is None:
        pytest.skip("this machine has a driver")
    for _ in range(3):
        assert nvml.read() == gpu.Gpus((), "NVML: NVML Shared Library Not Found")


# No GPU here: the calls below stand for NVML's, and refuse what a MIG slice refuses.
def test_what_a_gpu_does_not_tell_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        used, total = 3 << 30, 80 << 30

    def refuse(*_: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    answers: dict[str, Any] = {
        "Count": lambda: 2,
        "HandleByIndex": lambda index: index if index == 0 else refuse(),
        "UUID": lambda _: "GPU-1",
        "Name": lambda _: "H100",
        "MemoryInfo": lambda _: Memory,
        "UtilizationRates": refuse,
        "PowerUsage": lambda _: 70_500,
        "TotalEnergyConsumption": lambda _: 1_234_567,
        "Temperature": lambda *_: 41,
        "CurrentClocksEventReasons": refuse,
        "CurrentClocksThrottleReasons": lambda _: pynvml.nvmlClocksEventReasonSwPowerCap | 1,
        "TotalEccErrors": lambda _, sort, __: (
            7 if sort == pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED else 0
        ),
        "CurrPcieLinkWidth": lambda _: 16,
        "CurrPcieLinkGeneration": refuse,
    }
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, f"nvmlDeviceGet{name}", answer)
    nvml = gpu.Nvml()
    (only,) = nvml.read().gpus
    assert (only.memory_used_bytes, only.utilization) == (3 << 30, None)
    assert (only.power_watts, only.energy_joules) == (70.5, 1234.567)
    assert only.clock_events is not None
    assert [name for name, now in only.clock_events.items() if now] == ["power_cap"]
    assert (only.ecc_corrected, only.ecc_uncorrected) == (7, 0)
    assert (only.pcie_width, only.pcie_generation) == (16, None)

    def lost() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lost)
    assert nvml.read() == gpu.Gpus((), "NVML: Driver Not Loaded")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", answers["Count"])
    assert len(nvml.read().gpus) == 1, "the driver came back"
