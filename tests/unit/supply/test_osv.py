"""Records in OSV's schema, and the versions that they do and do not affect."""

from __future__ import annotations

from typing import Any

import pytest

from tests.supply import SupplyError, osv


def record(
    *events: dict[str, str],
    ecosystem: str = osv.PYPI,
    name: str = "starlette",
    type: str = "ECOSYSTEM",
    versions: list[str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A record as the export has it."""
    affected: dict[str, Any] = {
        "package": {"ecosystem": ecosystem, "name": name, "purl": f"pkg:pypi/{name}"}
    }
    if events:
        affected["ranges"] = [{"type": type, "events": list(events)}]
    if versions is not None:
        affected["versions"] = versions
    return {
        "schema_version": "1.7.0",
        "id": "GHSA-2c2j-9gv5-cj73",
        "modified": "2026-11-20T10:00:00.123456789Z",
        "published": "2026-11-19T10:00:00Z",
        "aliases": ["CVE-2026-54121"],
        "summary": "Multipart parsing blocks the main thread",
        "affected": [affected],
        "references": [{"type": "WEB", "url": "https://example.org/advisory"}],
        **more,
    }


def hit(version: str, said: dict[str, Any], name: str = "starlette") -> bool:
    ecosystem = said["affected"][0]["package"]["ecosystem"]
    return osv.judge(osv.Package(ecosystem, name, version), said) is not None


INTRODUCED, FIXED = {"introduced": "0.40"}, {"fixed": "1.2.3"}


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ("0.39.9", False),
        ("0.40rc1", False),
        ("0.40", True),
        ("0.40.0", True),
        ("0.40.post1", True),
        ("1.2.2", True),
        ("1.2.3rc1", True),
        ("1.2.3.dev1", True),
        ("1.2.3", False),
        ("1.2.3.post1", False),
        ("1.10", False),
        ("1!0.41", False),
    ],
)
def test_a_range_begins_with_what_introduced_it_and_ends_before_the_fix(
    version: str, affected: bool
) -> None:
    assert hit(version, record(INTRODUCED, FIXED)) is affected
    assert hit(version, record(FIXED, INTRODUCED)) is affected  # the order is not promised


@pytest.mark.parametrize(
    ("version", "affected"), [("2.0", True), ("2.0.1", False), ("2.1a1", False), ("0.0.1", True)]
)
def test_the_last_affected_version_is_affected(version: str, affected: bool) -> None:
    assert hit(version, record({"introduced": "0"}, {"last_affected": "2.0"})) is affected


@pytest.mark.parametrize(
    ("version", "affected"),
    [("1.0", True), ("1.5", False), ("2.9", False), ("3.0", True), ("3.2.5", False)],
)
def test_a_fault_may_come_back(version: str, affected: bool) -> None:
    events = ({"introduced": "1.0"}, {"fixed": "1.5"}, {"introduced": "3.0"}, {"fixed": "3.2.5"})
    assert hit(version, record(*events)) is affected


def test_without_an_end_all_later_versions_are_affected() -> None:
    assert hit("999", record({"introduced": "0"}))
    assert hit("0.0.dev1", record({"introduced": "0"}))


@pytest.mark.parametrize(("version", "affected"), [("1.9", True), ("2.0", False)])
def test_a_limit_ends_a_range(version: str, affected: bool) -> None:
    assert hit(version, record({"introduced": "0"}, {"limit": "2.0"})) is affected
    assert hit(version, record({"introduced": "0"}, {"limit": "*"}))


@pytest.mark.parametrize(
    ("version", "affected"),
    [("1.0.0", True), ("1.0", True), ("1.0.1", False), ("v1.0.post0", False)],
)
def test_a_list_of_versions_means_these_alone(version: str, affected: bool) -> None:
    assert hit(version, record(versions=["0.9", "1.0.0", "not-a-version"])) is affected


def test_a_version_is_affected_by_the_list_or_by_a_range() -> None:
    said = record({"introduced": "2.0"}, {"fixed": "2.1"}, versions=["1.0"])
    assert [hit(version, said) for version in ("1.0", "1.5", "2.0", "2.1")] == [
        True,
        False,
        True,
        False,
    ]


def test_a_withdrawn_record_affects_nothing() -> None:
    assert not hit("1.0", record({"introduced": "0"}, withdrawn="2026-11-21T00:00:00Z"))


def test_another_package_or_ecosystem_is_not_meant() -> None:
    said = record({"introduced": "0"})
    assert not hit("1.0", said, name="starlette-admin")
    assert osv.judge(osv.Package(osv.NPM, "starlette", "1.0.0"), said) is None
    # OSV writes names as PyPI does: any spelling of one is meant.
    assert hit("1.0", record({"introduced": "0"}, name="Ruamel.YAML"), name="ruamel-yaml")
    assert not hit("1.0.0", record({"introduced": "0"}, ecosystem=osv.NPM, name="React"), "react")


def test_a_local_build_shares_the_faults_of_its_version() -> None:
    until = record({"introduced": "0"}, {"last_affected": "2.13.0"}, name="torch")
    for said in (until, record(name="torch", versions=["2.13.0"])):
        assert hit("2.13.0+cpu", said, name="torch")
        assert not hit("2.13.1+cpu", said, name="torch")


@pytest.mark.parametrize(
    ("version", "affected"),
    [("5.17.13", True), ("5.17.14-beta.1", True), ("5.17.14", False), ("5.9.0", True)],
)
def test_npm_counts_as_semver(version: str, affected: bool) -> None:
    said = record(
        {"introduced": "0"}, {"fixed": "5.17.14"}, ecosystem=osv.NPM, name="a", type="SEMVER"
    )
    assert hit(version, said, name="a") is affected


def test_a_range_of_commits_is_left_to_the_list() -> None:
    commits = ({"introduced": "0"}, {"fixed": "a" * 40})
    assert not hit("1.0", record(*commits, type="GIT"))
    assert hit("1.0", record(*commits, type="GIT", versions=["1.0"]))


def test_a_range_that_nobody_can_compare_is_a_person_s() -> None:
    odd = record({"introduced": "0"}, {"fixed": "2004d-final!"})
    verdict = osv.judge(osv.Package(osv.PYPI, "starlette", "1.0"), odd)
    assert verdict is not None
    assert verdict.unclear
    listed = record({"introduced": "0"}, {"fixed": "2004d-final!"}, versions=["0.1"])
    assert not hit("1.0", listed)
    assert hit("0.1", listed)


def test_the_fix_is_the_next_one_above() -> None:
    events = ({"introduced": "1.0"}, {"fixed": "1.5.1"}, {"introduced": "2.0"}, {"fixed": "2.4"})
    verdict = osv.judge(osv.Package(osv.PYPI, "starlette", "1.2"), record(*events))
    assert verdict is not None
    assert verdict.fixed == ("1.5.1",)
    assert verdict.ids == {"GHSA-2c2j-9gv5-cj73", "CVE-2026-54121"}


def test_a_record_of_another_shape_is_refused_by_its_name() -> None:
    odd = record({"introduced": "0"})
    del odd["affected"][0]["ranges"][0]["events"]
    with pytest.raises(SupplyError, match="GHSA-2c2j-9gv5-cj73 is no OSV record"):
        hit("1.0", odd)
