"""The doctor's judgements, each on readings that have the fault, and its round on this machine."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from cosyhost import doctor, host_config
from cosyhost.doctor import checks, findings
from cosyhost.doctor.findings import Finding, Sign
from cosyhost.doctor.run import FAULTS, WARNINGS, WELL
from cosyhost.host.gpu import Gpu, Gpus
from cosyhost.host.network import Counters, Interface, Link
from cosyhost.host.storage import Contents, Filesystem

LINK = Link(up=True, carrier=True, carrier_changes=2, speed_mbit=1000, duplex="full", wired=True)
MOVED = Counters(10_000_000, 10_000_000, 10_000, 10_000, 0, 0, 0, 0)
GPU = Gpu(
    index=0, uuid="GPU-1", name="Tesla V100", memory_used_bytes=1, memory_total_bytes=16 << 30,
    utilization=0.1, temperature_celsius=40, power_watts=50.0, energy_joules=1.0,
    clock_events={"hw_thermal": False}, ecc_corrected=0, ecc_uncorrected=0, pcie_width=16,
    pcie_generation=3,
)  # fmt: skip
ROOM = Filesystem(1, 100_000_000_000, 50_000_000_000, 1000, 900)


def eth0(link: Link = LINK, moved: Counters = MOVED) -> Interface:
    return Interface("eth0", moved, link)


def look(
    link: Link = LINK,
    moved: Counters = MOVED,
    seconds: float = 1.0,
    device: str | None = "eth0",
    **inventory: float,
) -> list[str]:
    expected = {"nominal_mbit": 0.0, "up_mbit": 0.0, "down_mbit": 0.0} | inventory
    found = checks.link([eth0()], [eth0(link, moved)], seconds, default_device=device, **expected)
    return [finding.sign.code for finding in found]


def test_a_good_link_has_no_finding() -> None:
    assert look(nominal_mbit=1000, up_mbit=50, down_mbit=50) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"speed_mbit": 100}, "LINK_BELOW_NOMINAL"),
        ({"duplex": "half"}, "LINK_HALF_DUPLEX"),
        ({"carrier": False, "speed_mbit": None}, "LINK_NO_CARRIER"),
        ({"carrier_changes": 40}, "LINK_FLAPS"),
    ],
)
def test_a_bad_link_is_named(change: dict[str, object], code: str) -> None:
    assert look(dataclasses.replace(LINK, **change)) == [code]  # type: ignore[arg-type]


def test_a_link_without_a_wire_has_no_speed_to_be_judged() -> None:
    assert look(dataclasses.replace(LINK, speed_mbit=None, wired=False), nominal_mbit=1000) == []


def test_a_fast_port_may_be_asked_for_more_than_a_gigabit() -> None:
    assert look(nominal_mbit=10_000) == ["LINK_BELOW_NOMINAL"]


def test_lost_packets_are_named_from_one_percent_on() -> None:
    assert look(moved=MOVED._replace(receive_errs=150, transmit_drop=60)) == ["LINK_ERRORS"]
    assert look(moved=MOVED._replace(receive_errs=150)) == []


def test_a_full_line_is_measured_in_bits() -> None:
    # 5.8 MB in a second are 46.4 Mbit/s: over nine tenths of 50 Mbit/s, and not of 5.8.
    moved = MOVED._replace(transmit_bytes=MOVED.transmit_bytes + 5_800_000)
    assert look(moved=moved, up_mbit=50, down_mbit=50) == ["LINK_SATURATED"]
    assert look(moved=moved, up_mbit=60, down_mbit=60) == []
    assert look(moved=moved, seconds=2.0, up_mbit=50, down_mbit=50) == []


def test_an_interface_made_anew_is_no_negative_rate() -> None:
    assert checks.rates_bps(MOVED, MOVED._replace(receive_bytes=5), 1.0) == (0.0, 0.0)


def test_an_asymmetric_line_and_a_missing_route_are_warnings() -> None:
    assert look(up_mbit=10, down_mbit=100) == ["LINK_ASYMMETRIC"]
    assert look(device=None) == ["LINK_NO_ROUTE"]


@pytest.mark.parametrize(
    ("room", "codes"),
    [
        (ROOM, []),
        (None, ["PATH_MISSING"]),
        (dataclasses.replace(ROOM, free_bytes=8_000_000_000), ["DISK_LOW"]),
        (dataclasses.replace(ROOM, free_bytes=900_000_000), ["DISK_FULL"]),
        (dataclasses.replace(ROOM, inodes_free=10), ["DISK_INODES"]),
        (dataclasses.replace(ROOM, inodes=None, inodes_free=None), []),
    ],
)
def test_room_on_disk(room: Filesystem | None, codes: list[str]) -> None:
    assert [finding.sign.code for finding in checks.disk("/x", room)] == codes


def test_outputs_over_their_quota() -> None:
    held = Contents(3, 6_000_000_000, 0.0, 0)
    assert [f.sign.code for f in checks.outputs(held, 5_000_000_000)] == ["OUTPUTS_OVER_QUOTA"]
    assert list(checks.outputs(held, 0)) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"memory_used_bytes": 16 << 30}, "GPU_MEMORY"),
        ({"clock_events": {"hw_thermal": True}}, "GPU_HOT"),
        ({"ecc_uncorrected": 1}, "GPU_ECC"),
    ],
)
def test_a_bad_gpu_is_named(change: dict[str, object], code: str) -> None:
    gpu = dataclasses.replace(GPU, **change)  # type: ignore[arg-type]
    assert [f.sign.code for f in checks.gpus(Gpus((gpu,), None), 1)] == [code]


def test_a_missing_gpu_is_named_with_its_reason() -> None:
    (finding,) = checks.gpus(Gpus((), "NVML: Library Not Found"), 1)
    assert finding.sign is findings.GPU_MISSING
    assert "Library Not Found" in finding.sentence("en")
    assert list(checks.gpus(Gpus((), "NVML: Library Not Found"), 0)) == []


def test_units_that_do_not_run_are_named() -> None:
    states = {"a": "active/running", "b": "failed/failed", "c": "activating/auto-restart"}
    assert [f.figures["unit"] for f in checks.units(states)] == ["b", "c"]


SIGNS = [value for value in vars(findings).values() if isinstance(value, Sign)]


@pytest.mark.parametrize("sign", SIGNS, ids=lambda sign: sign.code)
def test_every_sign_is_named_after_its_code_in_both_languages(sign: Sign) -> None:
    assert getattr(findings, sign.code) is sign
    assert any("\u4e00" <= letter <= "\u9fff" for letter in sign.zh + sign.cure_zh)
    assert not any("\u4e00" <= letter <= "\u9fff" for letter in sign.en + sign.cure_en)
    assert sign.cure_en


def test_the_round_says_what_it_could_not_check(capsys: pytest.CaptureFixture[str]) -> None:
    status = doctor.run(None, seconds=0.1, as_json=True, language="both")
    said = json.loads(capsys.readouterr().out)
    assert said["not_checked"]
    severities = {finding["severity"] for finding in said["findings"]}
    assert status == (FAULTS if "fault" in severities else WARNINGS if severities else WELL)


def test_a_service_that_is_not_there_and_a_missing_gpu_are_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "outputs").mkdir()
    settings = tmp_path / "exporter.toml"
    settings.write_text(
        f"""
        server = {{listen = "127.0.0.1", port = 7861}}
        network = {{nominal_mbit = 0, uplink_up_mbit = 0, uplink_down_mbit = 0}}
        outputs = {{folder = "{tmp_path}/outputs", quota_bytes = 1}}
        service = {{url = ""}}
        gpus = {{expected = 64}}
        retention = {{record = "/nowhere"}}
        backup = {{record = "/nowhere"}}
        """
    )
    config = host_config.load(settings)
    (tmp_path / "outputs/a.wav").write_bytes(b"12")
    assert doctor.run(config, seconds=0.1, as_json=False, language="both") == FAULTS
    said = capsys.readouterr().out
    assert "GPU_MISSING" in said
    assert "OUTPUTS_OVER_QUOTA" in said
    assert "nvidia-smi" in said


def test_a_finding_is_a_document_for_programs() -> None:
    finding = Finding("link", findings.LINK_HALF_DUPLEX, {"device": "eth0"})
    document = finding.document()
    assert document["code"] == "LINK_HALF_DUPLEX"
    assert document["severity"] == "fault"
    assert document["message"].startswith("eth0 ")


def test_every_finding_is_in_the_docs_with_its_severity() -> None:
    signs = {sign.code: sign for sign in vars(findings).values() if isinstance(sign, Sign)}
    page = (Path(__file__).parents[3] / "docs/doctor.md").read_text(encoding="utf-8")
    told: dict[str, str] = {}
    for line in page.splitlines():
        if line.startswith("| `") and line.count("|") == 4:
            codes, severities, _ = (cell.strip() for cell in line.strip("|").split("|"))
            names, words = codes.replace("`", "").split(", "), severities.split(", ")
            told |= dict(zip(names, words * (len(names) // len(words)), strict=True))
    assert told == {code: "fault" if s.fault else "warning" for code, s in signs.items()}
