"""Images come from this machine's own mirrors and are made again when their recipe changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.testbed import Settings, UsageError, image, pip

RECIPE = image.Recipe("trixie", ["deb http://mirror.test/debian trixie main"], [], {"a.crt": "A"})
DEB822 = """\
Types: deb
# a remark
URIs: http://mirror.test/debian/
Suites: bookworm bookworm-updates
Components: main

Enabled: no
Types: deb
URIs: http://off.test/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://mirror.test/security
Suites: bookworm-security
Components: main contrib
"""


def sources(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return tmp_path


def test_mirrors_are_read_from_deb822_sources(tmp_path: Path) -> None:
    apt = sources(tmp_path, "sources.list.d/debian.sources", DEB822)
    expected = image.Mirrors("http://mirror.test/debian", "http://mirror.test/security")
    assert image.find_mirrors(apt) == expected


def test_mirrors_are_read_from_one_line_sources(tmp_path: Path) -> None:
    text = (
        "# deb http://off.test/debian bookworm main\n"
        "deb cdrom:[Debian]/ bookworm main\n"
        "deb [arch=amd64] http://other.test/apt stable-tool main\n"
        "deb [signed-by=/k.gpg arch=amd64] https://mirror.test/debian trixie main non-free\n"
    )
    apt = sources(tmp_path, "sources.list", text)
    mirrors = image.find_mirrors(apt)
    assert mirrors == image.Mirrors("https://mirror.test/debian", None)
    assert not any("security" in line for line in mirrors.lines("trixie"))


def test_a_machine_without_debian_mirrors_is_told_what_to_set(tmp_path: Path) -> None:
    apt = sources(tmp_path, "sources.list", "deb http://mirror.test/ubuntu noble main\n")
    with pytest.raises(UsageError, match="COSYHOST_TESTBED_MIRROR"):
        image.find_mirrors(apt)


def test_the_key_changes_with_whatever_goes_in() -> None:
    others = (
        replace(RECIPE, suite="bookworm"),
        replace(RECIPE, sources=["deb http://else.test/debian trixie main"]),
        replace(RECIPE, apt_options=['Acquire::http::Proxy "http://p"']),
        replace(RECIPE, certificates={"a.crt": "B"}),
    )
    assert replace(RECIPE).key == RECIPE.key
    assert len({RECIPE.key, *(other.key for other in others)}) == 5


def test_only_a_finished_build_of_todays_recipe_is_current(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.from_env({"HOME": "/x", "COSYHOST_TESTBED_MACHINES": str(tmp_path)})
    monkeypatch.setattr(image, "recipe", lambda *_: RECIPE)
    top = tmp_path / "images" / "trixie"
    (top / f".draft-{RECIPE.key}-1").mkdir(parents=True)
    assert image.current(settings, "trixie") is None
    for build, expected in ((f"{RECIPE.key}-1", f"{RECIPE.key}-1"), ("oldkey-1", None)):
        (top / build).mkdir()
        (top / "current").unlink(missing_ok=True)
        (top / "current").symlink_to(build)
        assert image.current(settings, "trixie") == expected


def test_the_image_is_bare() -> None:
    assert not {"python3-packaging", "python3-venv", "python3-pip"} & set(image.PACKAGES)


def test_pip_in_the_hosts_gets_the_index_but_no_local_folders(tmp_path: Path) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://index.test/simple\nextra-index-url = file:///opt/simple\n"
        "find-links = /opt/wheels\n"
    )
    found = pip.index_options({"HOME": "/x", "PIP_TRUSTED_HOST": "index.test"}, [config])
    assert found == {
        "index-url": "https://index.test/simple",
        "trusted-host": "index.test",
        "cert": pip.CERTIFICATES,
    }


def test_pip_in_the_hosts_uses_a_wheelhouse_alone_when_there_is_one(tmp_path: Path) -> None:
    settings = Settings.from_env({"HOME": "/x", "COSYHOST_TESTBED_MACHINES": str(tmp_path)})
    assert "no-index" not in pip.guest_config(settings, "trixie")
    wheels = pip.wheelhouse(settings, "trixie")
    wheels.mkdir(parents=True)
    (wheels / "a-1-py3-none-any.whl").touch()
    assert "no-index = true\nfind-links = /var/cache/wheelhouse" in pip.guest_config(
        settings, "trixie"
    )
    assert "no-index" not in pip.guest_config(settings, "bookworm")
