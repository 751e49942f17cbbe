"""The exporter, run as its unit runs it, in networks of its own, and held against others.

The kernel says which bytes passed, promtool and prometheus_client what the format is.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cosyhost import host_config
from cosyhost.cli import main
from cosyhost.exporter import gpu
from cosyhost.exporter.collectors import Collectors
from cosyhost.exporter.exposition import rendered
from cosyhost.exporter.server import Server
from cosyhost.host.gpu import CLOCK_EVENTS, Gpu, Gpus, Nvml
from tests.debs import program
from tests.netns import ROOT, STILL, Namespace, namespace, needs_root
from tests.unit.service.conftest import eventually, free_port

LINE_MBIT = 20
CONFIG = """
[server]
listen = "127.0.0.1"
port = {port}
[network]
nominal_mbit = 1000
uplink_up_mbit = {line}
uplink_down_mbit = 0
[outputs]
folder = "{folder}/outputs"
quota_bytes = 5000
[service]
url = ""
[gpus]
expected = 0
[retention]
record = "{folder}/last.json"
[backup]
record = "{folder}/backup.json"
"""
RECORD = {
    "ended": 1_795_000_000.5,
    "boot_id": "b",
    "uptime_s": 9.0,
    "period_s": 3600.0,
    "run_seconds": 2.5,
    "deleted_files_total": 12,
    "deleted_bytes_total": 34_000,
}
BACKUP = {
    "period_s": 86400,
    "ended": 1_795_000_000.5,
    "run_seconds": 2.5,
    "snapshot": "0a1b2c3d",
    "files": 7,
    "bytes": 5000,
    "new_files": 1,
    "added_bytes": 900,
    "checked": 1_794_000_000.5,
    "problem": "",
}
FETCH = """
from urllib.request import urlopen
result = urlopen("http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
"""


@dataclass(frozen=True)
class Metrics:
    """A scrape: the values by name and labels, as prometheus_client reads them."""

    text: str

    @property
    def values(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
        }

    def get(self, name: str, **labels: str) -> float | None:
        return self.values.get((f"cosyhost_{name}", frozenset(labels.items())))

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.values}


@dataclass(frozen=True)
class Running:
    """An exporter in a network of its own."""

    here: Namespace
    port: int

    def scrape(self) -> Metrics:
        return Metrics(self.here.python(FETCH.format(port=self.port)))


def written(folder: Path, port: int = 7861) -> Path:
    """Settings in which all is told, with two outputs."""
    (folder / "outputs").mkdir()
    (folder / "outputs" / "one.wav").write_bytes(bytes(3000))
    (folder / "outputs" / "two.wav").write_bytes(bytes(500))
    path = folder / "exporter.toml"
    path.write_text(CONFIG.format(port=port, line=LINE_MBIT, folder=folder), encoding="utf-8")
    return path


@contextmanager
def exporter(here: Namespace, config: Path) -> Iterator[Running]:
    """`cosyhost exporter`, until it listens."""
    command = [sys.executable, "-m", "cosyhost.cli", "--config", str(config), "exporter"]
    with subprocess.Popen([*here.prefix, *command], cwd=ROOT) as process:
        try:
            listening = lambda: ":7861" in here.run("ss", "-Hltn")  # noqa: E731
            eventually(listening, "the exporter to listen", 20)
            yield Running(here, 7861)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exporter")


@pytest.fixture(scope="module")
def line(folder: Path) -> Iterator[tuple[Running, Namespace]]:
    """A host whose default route is a line of 20 Mbit/s, and what is at its other end."""
    with namespace() as host, namespace() as world:
        host.batch(
            f"link add wan type veth peer name wan netns {world.name}",
            "address add 10.9.8.1/24 dev wan",
            "link set wan up",
            'link add odd"\\name type bridge',
        )
        world.batch("address add 10.9.8.2/24 dev wan", "link set wan up")
        host.batch("route add default via 10.9.8.2")
        shaped = f"tc qdisc add dev wan root tbf rate {LINE_MBIT}mbit burst 16kb latency 300ms"
        host.run(*shaped.split())
        with exporter(host, written(folder)) as running:
            yield running, world


RECEIVE = """
import socket
with socket.create_server(("10.9.8.2", 5001)) as server:
    print("listening", flush=True)
    connection, _ = server.accept()
    while connection.recv(1 << 20):
        pass
"""
# Sends 1.5 MB and waits until the other side has them all; the seconds it took.
SEND = """
import socket, time
with socket.create_connection(("10.9.8.2", 5001)) as out:
    began = time.monotonic()
    out.sendall(bytes(1_500_000))
    out.shutdown(socket.SHUT_WR)
    out.recv(1)
    result = time.monotonic() - began
"""


@needs_root
def test_megabytes_and_megabits_of_a_real_transfer(line: tuple[Running, Namespace]) -> None:
    running, world = line
    before = running.scrape()
    receive = [*world.prefix, sys.executable, "-c", RECEIVE]
    with subprocess.Popen(receive, stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout is not None
        receiver.stdout.readline()
        seconds = running.here.python(SEND)
    after = running.scrape()
    sent = [moment.get("network_transmit_bytes_total", device="wan") for moment in (before, after)]
    assert sent[0] is not None
    assert sent[1] is not None
    moved = sent[1] - sent[0]
    assert 1_500_000 < moved < 1_650_000  # what was sent, and the headers of its packets
    megabytes_s, megabits_s = moved / 1e6 / seconds, moved * 8 / 1e6 / seconds
    assert megabits_s == pytest.approx(LINE_MBIT, rel=0.2)
    assert megabytes_s == pytest.approx(LINE_MBIT / 8, rel=0.2)
    # What the alert UplinkSaturated divides: both sides in bytes per second.
    capacity = after.get("network_uplink_capacity_bytes", device="wan", direction="transmit")
    assert capacity == LINE_MBIT * 125_000
    assert moved / seconds / capacity == pytest.approx(1, rel=0.2)


@needs_root
def test_every_counter_is_the_kernels(line: tuple[Running, Namespace]) -> None:
    running, _ = line
    text, kernel = running.here.python(STILL % running.port)
    told = Metrics(text)
    for row in kernel:
        device, _, figures = row.strip().rpartition(":")
        numbers = [int(figure) for figure in figures.split()]
        for way, there in (("receive", 0), ("transmit", 8)):
            for place, what in enumerate(("bytes", "packets", "errs", "drop")):
                name = f"network_{way}_{what}_total"
                assert told.get(name, device=device) == numbers[there + place], (device, name)
    assert 'odd"\\name' in {dict(labels).get("device") for _, labels in told.values}


@needs_root
def test_a_link_that_goes_is_no_series_any_more(line: tuple[Running, Namespace]) -> None:
    running, _ = line
    running.here.batch("link add gone0 type veth peer name gone1", "link set gone0 up")
    assert running.scrape().get("network_up", device="gone0") == 1
    running.here.batch("link set gone0 down")
    down = running.scrape()
    assert down.get("network_up", device="gone0") == 0
    assert down.get("network_carrier", device="gone0") == 0
    assert down.get("network_speed_bytes", device="gone0") is None
    running.here.batch("link delete gone0")
    gone = running.scrape()
    assert gone.get("network_up", device="gone0") is None
    assert gone.get("exporter_collector_up", collector="network") == 1


@needs_root
def test_a_host_without_a_driver_says_so(line: tuple[Running, Namespace]) -> None:
    told = line[0].scrape()
    assert (told.get("gpu_up"), told.get("gpus_expected")) == (0, 0)
    assert told.get("exporter_collector_up", collector="gpu") == 1


@needs_root
def test_outputs_and_retention_are_told(line: tuple[Running, Namespace], folder: Path) -> None:
    running, _ = line
    eventually(lambda: running.scrape().get("outputs_files") == 2, "the outputs to be counted", 10)
    told = running.scrape()
    assert (told.get("outputs_bytes"), told.get("outputs_quota_bytes")) == (3500, 5000)
    oldest = told.get("outputs_oldest_timestamp_seconds")
    assert oldest == pytest.approx(time.time(), abs=600)
    assert told.get("storage_size_bytes", path="/")
    assert not [name for name in told.names if "retention" in name]

    record = folder / "last.json"
    record.write_text(json.dumps(RECORD))
    told = running.scrape()
    assert told.get("retention_last_success_timestamp_seconds") == RECORD["ended"]
    assert told.get("retention_period_seconds") == 3600
    assert told.get("retention_deleted_bytes_total") == 34_000
    record.write_text('{"ended": "yesterday"}')
    told = running.scrape()
    assert told.get("exporter_collector_up", collector="retention") == 0
    assert told.get("exporter_collector_up", collector="network") == 1
    assert not [name for name in told.names if "retention" in name]
    record.unlink()


def test_a_backup_is_told_of_from_the_day_it_is_set_up(tmp_path: Path) -> None:
    settings = host_config.load(written(tmp_path))
    record = tmp_path / "backup.json"
    assert "cosyhost_backup_" not in Collectors(settings).text()
    record.write_text(json.dumps(BACKUP | {"ended": None, "checked": None}))
    text = Collectors(settings).text()
    assert "cosyhost_backup_period_seconds 86400" in text
    assert "cosyhost_backup_last_success" not in text
    record.write_text(json.dumps(BACKUP))
    text = Collectors(settings).text()
    told = {name: value for (name, _), value in Metrics(text).values.items()}
    assert told["cosyhost_backup_last_success_timestamp_seconds"] == BACKUP["ended"]
    assert told["cosyhost_backup_last_check_timestamp_seconds"] == BACKUP["checked"]
    assert (told["cosyhost_backup_files"], told["cosyhost_backup_bytes"]) == (7, 5000)
    assert told["cosyhost_backup_added_bytes"] == 900


class OneGpu(Nvml):
    """A GPU that tells everything, where there is none."""

    def read(self) -> Gpus:
        events = dict.fromkeys(CLOCK_EVENTS, False)
        return Gpus((Gpu(0, "GPU-1", "H100", 1, 2, 0.5, 41, 70.5, 1.5, events, 7, 0, 16, 5),), None)


def test_promtool_has_nothing_to_say(tmp_path: Path) -> None:
    settings = host_config.load(written(tmp_path))
    (tmp_path / "last.json").write_text(json.dumps(RECORD))
    (tmp_path / "backup.json").write_text(json.dumps(BACKUP))
    collectors = Collectors(settings)
    eventually(lambda: "cosyhost_outputs_bytes" in collectors.text(), "the outputs' count", 10)
    text = collectors.text()
    families = gpu.collect(settings.gpus, OneGpu())
    text += rendered(one for one in families if f"# TYPE {one.name} " not in text)
    promtool = program("prometheus", "promtool")
    judged = subprocess.run(
        [promtool, "check", "metrics"], input=text, text=True, capture_output=True, check=False
    )
    assert (judged.returncode, judged.stdout + judged.stderr) == (0, "")
    assert Metrics(text).get("gpu_ecc_errors_total", gpu="0", kind="corrected") == 7
    assert Metrics(text).get("gpu_clock_event_active", gpu="0", reason="power_cap") == 0


# Base units: bytes, seconds, ratios 0 to 1. A rate is the reader's business.
WRONG_UNIT = re.compile(r"mbps|kbps|bps|bits?(_|$)|_(kb|mb|gb|kib|mib|gib|ms|msec|percent)(_|$)")


def test_no_metric_is_in_megabits_or_any_other_derived_unit(tmp_path: Path) -> None:
    settings = host_config.load(written(tmp_path))
    names = Metrics(Collectors(settings).text()).names
    names |= Metrics(rendered(gpu.collect(settings.gpus, OneGpu()))).names
    for path in (ROOT / "service/cosyhost").rglob("*.py"):
        names |= set(re.findall(r'"(cosyhost_[a-z_{}]+)', path.read_text(encoding="utf-8")))
    assert {"cosyhost_network_speed_bytes", "cosyhost_jobs_waiting", "cosyhost_gpu_up"} <= names
    assert [name for name in names if WRONG_UNIT.search(name)] == []
    wrong = ("cosyhost_link_mbps", "cosyhost_wait_ms", "cosyhost_link_speed_mb")
    assert all(WRONG_UNIT.search(name) for name in wrong)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("expected = 0", "expcted = 0", "expcted"),
        ("expected = 0", "expected = -1", "$.gpus.expected"),
        ("nominal_mbit = 1000", 'nominal_mbit = "fast"', "$.network.nominal_mbit"),
        ('folder = "/', 'folder = "', "outputs.folder"),
        ("[gpus]", "[gpus", "line 14"),
    ],
)
def test_a_wrong_key_is_named_with_the_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, named: str
) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace(old, new))
    assert main(["--config", str(path), "exporter", "--check"]) == 1
    said = capsys.readouterr().err
    assert named in said
    assert "config_invalid" in said
    assert said.count("cosyhost exporter --check") == 2
    assert main(["--config", str(tmp_path / "none.toml"), "exporter"]) == 1


def test_an_address_that_is_taken_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        path = written(tmp_path, port)
        assert main(["--config", str(path), "exporter"]) == 1
        assert f"127.0.0.1:{port}" in capsys.readouterr().err
        assert main(["--config", str(path), "exporter", "--check"]) == 0, "it asks elsewhere"


# HTTP


@pytest.fixture(scope="module")
def port() -> int:
    """Port of a server of our own in this process."""
    server = Server(lambda: "one 1\n", "127.0.0.1", free_port())
    threading.Thread(target=server.run, daemon=True).start()
    return server.port


def asked(port: int, said: bytes) -> bytes:
    """All that comes back until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as asker:
        asker.sendall(said)
        return b"".join(iter(lambda: asker.recv(65536), b""))


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /metrics HTTP/1.0", b"200"),
        (b"GET /metrics?x=1 HTTP/1.1\r\nConnection: close", b"200"),
        (b"GET / HTTP/1.1\r\nconnection: close", b"200"),
        (b"GET /else HTTP/1.0", b"404"),
        (b"POST /metrics HTTP/1.1", b"405"),
        (b"GET /metrics", b"400"),
        (b"\x16\x03\x01\x00", b"400"),
    ],
)
def test_requests_are_answered(port: int, request_line: bytes, status: bytes) -> None:
    answer = asked(port, request_line + b"\r\n\r\n")
    assert answer.split()[1] == status
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head


def test_a_connection_serves_several_scrapes(port: int) -> None:
    last = b"HEAD /metrics HTTP/1.1\r\nConnection: close\r\n\r\n"
    answer = asked(port, b"GET /metrics HTTP/1.1\r\n\r\n" * 3 + last)
    assert answer.count(b"200 OK") == 4
    assert answer.count(b"one 1\n") == 3
    assert asked(port, b"A" * 9000) == b"", "a head without an end"


def test_idle_connections_stop_nobody_until_there_are_too_many(port: int) -> None:
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(15)]
    try:
        assert b"200 OK" in asked(port, b"GET /metrics HTTP/1.0\r\n\r\n")
        idle += [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        with pytest.raises((ConnectionResetError, IndexError)):
            asked(port, b"GET /metrics HTTP/1.0\r\n\r\n").split()[1]
    finally:
        for connection in idle:
            connection.close()
    eventually(lambda: b"200 OK" in _tried(port), "a connection to be free again", 10)


def _tried(port: int) -> bytes:
    try:
        return asked(port, b"GET /metrics HTTP/1.0\r\n\r\n")
    except ConnectionError:
        return b""


def test_the_exporter_keeps_what_it_does_not_need_out_of_its_memory() -> None:
    code = "import sys, cosyhost.cli, cosyhost.host_config, cosyhost.exporter; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert {"psutil", "pynvml", "cosyhost.host.network"} <= set(loaded)
    heavy = {"prometheus_client", "http.server", "fastapi", "cosyhost.config", "cosyhost.web"}
    assert heavy & set(loaded) == set()
