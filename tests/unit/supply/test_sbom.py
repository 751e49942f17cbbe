"""The bills of materials are valid, complete, and the same again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.supply import SupplyError, locks, parts, sbom


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return {name: sbom.text(name) for name in sbom.bills()}


@pytest.fixture(scope="module")
def bills(texts: dict[str, str]) -> dict[str, dict[str, Any]]:
    return {name: json.loads(text) for name, text in texts.items()}


@pytest.mark.parametrize("name", sbom.bills())
def test_a_bill_is_valid(name: str, texts: dict[str, str]) -> None:
    errors = JsonStrictValidator(SchemaVersion.V1_6).validate_str(texts[name])
    assert errors is None, errors


def test_the_validator_would_tell() -> None:
    broken = json.loads(sbom.text("exporter"))
    broken["components"][0]["licenses"] = [{"license": {"id": "No-Such-Licence"}}]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(broken)) is not None


@pytest.mark.parametrize("name", locks.locks())
def test_each_pin_is_in_its_bill_with_hashes_and_licence(
    name: str, bills: dict[str, dict[str, Any]]
) -> None:
    by_purl = {one["purl"]: one for one in bills[name]["components"]}
    assert len(by_purl) == len(bills[name]["components"])
    for pin in locks.on_hosts(locks.locks()[name]):
        component = by_purl[f"pkg:pypi/{pin.name}@{pin.version.replace('+', '%2B')}"]
        hashes = {one["content"] for one in component["externalReferences"][0]["hashes"]}
        assert hashes == set(pin.hashes)
        assert component["licenses"]


def test_what_is_no_python_package_is_in_the_bills_too(bills: dict[str, dict[str, Any]]) -> None:
    web = {one["name"]: one for one in bills["web"]["components"]}
    for one in parts.packed():
        assert web[one.name]["hashes"] == [{"alg": "SHA-512", "content": one.sha512}]
    for kind in ("cpu", "cu128"):
        engine = {one["name"]: one for one in bills[f"engine-cosyvoice-{kind}"]["components"]}
        for commit in parts.upstream():
            assert engine[commit.name]["version"] == commit.commit
    manifest = parts.model()
    for name in (name for name in bills if name.startswith("engine-")):
        (model,) = (
            one for one in bills[name]["components"] if one["type"] == "machine-learning-model"
        )
        proved = {one["name"]: one["hashes"][0]["content"] for one in model["components"]}
        assert proved == {path: file["sha256"] for path, file in manifest["files"].items()}
    assert {one["name"] for one in bills["debian"]["components"]} == set(parts.debian())


def test_a_bill_says_what_a_wheel_brings_along(bills: dict[str, dict[str, Any]]) -> None:
    (av,) = {one["name"]: one for one in bills["web"]["components"] if one["name"] == "av"}.values()
    said = {one["name"]: one["value"] for one in av["properties"]}
    assert said["cosyhost:inside:libx264, libx265"] == "GPL-2.0-or-later"


def test_the_same_tree_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    first = {path.name: path.read_bytes() for path in sbom.write(tmp_path)}
    (tmp_path / "gone.cdx.json").write_text("{}", encoding="utf-8")
    second = {path.name: path.read_bytes() for path in sbom.write(tmp_path)}
    assert first == second
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(first)
    assert b'"timestamp"' not in first["web.cdx.json"]


def test_the_time_is_the_one_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    given = json.loads(sbom.text("exporter"))
    assert given["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(SupplyError, match="not seconds since 1970"):
        sbom.text("exporter")


def test_another_content_has_another_serial_number(bills: dict[str, dict[str, Any]]) -> None:
    assert len({bill["serialNumber"] for bill in bills.values()}) == len(bills)
