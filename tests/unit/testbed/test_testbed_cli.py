"""Trouble is one line that says what to do, and never a traceback."""

from __future__ import annotations

import pytest

from tests.testbed import CommandError, shell
from tests.testbed.__main__ import main, parser

VERBS = (
    "build", "up", "down", "list", "ssh", "exec", "reboot", "kill", "start", "snap",
    "client", "shape", "wan", "wheelhouse", "inventory", "clean",
)  # fmt: skip


def test_without_root_it_asks_for_sudo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert main(["list"]) == 2
    said = capsys.readouterr().err
    assert "run it with sudo" in said
    assert said.count("\n") == 1


def test_missing_programs_are_named_with_their_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda name: None if name in ("tc", "iptables") else name)
    assert main(["list"]) == 2
    said = capsys.readouterr().err
    assert "apt-get install iproute2 iptables" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parser().parse_args([verb, "--help"])
    assert caught.value.code == 0
    assert verb in capsys.readouterr().out


def test_an_unknown_verb_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["dance"])
    assert caught.value.code == 2
    assert "dance" in capsys.readouterr().err


def test_a_failed_program_is_told_by_its_last_words() -> None:
    with pytest.raises(CommandError, match=r"ended with 3: second") as caught:
        shell.call("sh", "-c", "echo first >&2; echo second >&2; exit 3")
    assert caught.value.stderr == "first\nsecond\n"
    assert "\n" not in str(caught.value)
