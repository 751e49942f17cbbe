"""Each part has a known licence; a new one without fails, and says what to do."""

from __future__ import annotations

import importlib.metadata

import pytest
from packaging.utils import canonicalize_name

from tests.supply import SupplyError, gather, licences, locks, page, parts, spdx


def pins() -> list[locks.Pin]:
    return [pin for path in locks.locks().values() for pin in locks.on_hosts(path)]


def test_the_page_is_what_the_locks_and_the_licences_say() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.text(), "Run: make licences"


def test_each_package_has_a_licence_that_is_known() -> None:
    for pin in pins():
        assert licences.python(pin).kind in spdx.KINDS
    for one in (*parts.packed(), parts.bundler()):
        assert licences.judged("npm", one.name).kind in spdx.KINDS
    for name in parts.debian():
        assert licences.judged("debian", name).kind in spdx.KINDS


def test_a_new_package_without_a_licence_fails_with_the_cure() -> None:
    new = locks.Pin("left-pad", "1.0.0", "", ("a" * 64,))
    with pytest.raises(SupplyError, match=r"left-pad 1\.0\.0 has no known licence\. Run: make lic"):
        licences.python(new)


def test_a_new_version_is_not_taken_for_the_old_one() -> None:
    """Its licence may be another."""
    old = next(pin for pin in pins() if pin.name == "fastapi")
    with pytest.raises(SupplyError, match="make licences"):
        licences.python(locks.Pin("fastapi", "9999.0", "", old.hashes))


def test_nothing_is_kept_that_is_no_longer_pinned() -> None:
    names = {pin.name for pin in pins()}
    judged = licences._judged()
    assert set(judged["python"]) - names == set()
    assert set(judged["inside"]) - names == set()
    assert set(judged["debian"]) == set(parts.debian())
    read = {(name, version) for name, by in licences._read().items() for version in by}
    pinned = {(pin.name, pin.version.partition("+")[0]) for pin in pins()}
    assert read - pinned == set(), "Run: make licences"


def test_what_is_installed_here_says_what_the_table_says() -> None:
    """The table came from the index; these came from the wheels that pip proved by their hashes."""
    control = {pin.name: pin for pin in locks.on_hosts(locks.locks()["control"])}
    compared = 0
    for distribution in importlib.metadata.distributions():
        metadata = distribution.metadata
        pin = control.get(canonicalize_name(metadata["Name"]))
        if pin is None or pin.version != distribution.version:
            continue
        declared, field = (
            (metadata.get_all(name) or [""])[0] for name in ("License-Expression", "License")
        )
        said = spdx.of_metadata(declared, field, metadata.get_all("Classifier") or [])
        if said is not None:
            compared += 1
            assert licences.python(pin).licence == said, pin.name
    assert compared > 50


@pytest.mark.parametrize(
    ("declared", "field", "classifiers", "licence"),
    [
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", "", [], "MPL-2.0 AND (Apache-2.0 OR MIT)"),
        ("MIT", "Apache-2.0", [], "MIT"),
        ("", "BSD-3-Clause", [], "BSD-3-Clause"),
        ("", "Apache License, Version 2.0", [], "Apache-2.0"),
        ("", "MIT License\n\nCopyright (c) 2026 Somebody", [], "MIT"),
        ("", "", ["License :: OSI Approved :: MIT License"], "MIT"),
        ("", "NVIDIA Proprietary Software", [], spdx.NVIDIA),
        # Doubtful: a person has to look.
        ("", "BSD", ["License :: OSI Approved :: BSD License"], None),
        ("", "UNKNOWN", [], None),
        ("", "Dual License", ["License :: OSI Approved :: MIT License",
                              "License :: OSI Approved :: Apache Software License"], None),
        ("", "", ["License :: Other/Proprietary License"], None),
        ("", "", [], None),
        ("LicenseRef-Mystery", "MIT", [], None),
    ],
)  # fmt: skip
def test_metadata_is_read_only_where_it_leaves_no_doubt(
    declared: str, field: str, classifiers: list[str], licence: str | None
) -> None:
    assert spdx.of_metadata(declared, field, classifiers) == licence
    report = {"license_expression": declared, "license": field, "classifier": classifiers}
    assert gather.of_report(report) == licence


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("MIT", spdx.PERMISSIVE),
        ("LGPL-2.1-or-later", spdx.WEAK),
        ("MPL-2.0", spdx.WEAK),
        ("GPL-3.0-or-later", spdx.STRONG),
        ("AGPL-3.0-only", spdx.STRONG),
        ("GPL-2.0-only OR MIT", spdx.PERMISSIVE),
        ("GPL-2.0-only AND MIT", spdx.STRONG),
        ("GPL-3.0-or-later WITH GCC-exception-3.1", spdx.WEAK),
        ("Apache-2.0 WITH LLVM-exception", spdx.PERMISSIVE),
        ("SSPL-1.0", spdx.RESTRICTED),
        (spdx.NVIDIA, spdx.RESTRICTED),
    ],
)
def test_a_licence_is_as_strict_as_its_strictest_part(expression: str, kind: str) -> None:
    assert spdx.kind(expression) == kind


def test_copyleft_is_told_and_not_hidden() -> None:
    strict = {row.name for row in page.rows() if row.licence.kind == spdx.STRONG}
    assert {"espeak-ng", "ansible-core", "grafana", "libx264, libx265 (inside av)"} <= strict
    before, _, _ = page.text().partition("### weak copyleft")
    assert all(f"| {name} |" in before for name in strict)


def test_one_package_that_pip_cannot_give_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run(
        batch: gather._Batch, pip: str, wanted: dict[str, str]
    ) -> tuple[list[dict[str, str]], str]:
        asked.append(sorted(wanted))
        if "wget" in wanted:
            return [], "wget"
        return [{"name": n, "version": v, "license": "MIT"} for n, v in wanted.items()], ""

    monkeypatch.setattr(gather._Batch, "_run", run)
    wanted = [locks.Pin(name, "1.0", "", ("a" * 64,)) for name in ("Attrs", "wget", "torch")]
    wanted += [locks.Pin("torch", "2.0+cpu", "", ("a" * 64,))]
    found = gather.licences(wanted)
    assert found == {("attrs", "1.0"): "MIT", ("torch", "1.0"): "MIT", ("torch", "2.0"): "MIT"}
    assert asked == [["Attrs", "torch", "wget"], ["Attrs", "torch"], ["wget"], ["torch"]]
