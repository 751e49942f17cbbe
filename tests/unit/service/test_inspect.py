"""`cosyhost inspect`: what it says of a file, its exit statuses, and the page about labels."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cosyhost import audio, inspect, tags
from cosyhost.cli import main
from cosyhost.labels import Label
from tests.unit.service.conftest import ROOT

PREVIEW = Label(
    "espeak", True, "2025-11-03T09:30:00Z", "0b54a2f7c3de4f6f9a3b5b1f0c7a9e21", "Example"
)
CLONE = Label("cosyvoice", False, "2025-11-03T09:30:00Z", "1", "001191110102MAD55U9H0F10002")
SILENCE, RATE = bytes(48_000), 24_000
NAMES = {"wav": "speech.wav", "flac": "speech.flac", "mp3": "speech.mp3", "opus": "speech.ogg"}


def made(folder: Path, response_format: str = "wav", label: Label = PREVIEW) -> Path:
    path = folder / NAMES[response_format]
    path.write_bytes(audio.encode(SILENCE, RATE, response_format, label))
    return path


def looked(capsys: pytest.CaptureFixture[str], path: object) -> tuple[int, dict[str, Any]]:
    status = main(["inspect", str(path), "--json"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return status, document


@pytest.mark.parametrize("response_format", NAMES)
@pytest.mark.parametrize("label", [PREVIEW, CLONE])
def test_our_label_is_read_from_each_container(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, response_format: str, label: Label
) -> None:
    status, document = looked(capsys, made(tmp_path, response_format, label))
    assert status == inspect.OURS == 0
    assert (document["verdict"], document["problem"]) == ("cosyhost", None)
    assert document["container"] == {"opus": "ogg"}.get(response_format, response_format)
    assert document["label"] == label.document()
    assert document["aigc"] == json.loads(label.aigc)


def test_it_says_so_in_both_languages(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["inspect", str(made(tmp_path))]) == 0
    said = capsys.readouterr().out
    assert "AI-generated speech, made by CosyHost" in said
    assert "preview engine" in said
    assert "人工智能生成的语音" in said
    assert "预览引擎" in said
    assert main(["inspect", str(made(tmp_path, label=CLONE)), "--lang", "en"]) == 0
    said = capsys.readouterr().out
    assert said.isascii()
    assert "A voice was cloned" in said
    assert "preview" not in said.lower()


def test_no_label_proves_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = made(tmp_path)
    bare = path.read_bytes().replace(b"bext", b"junk").replace(b"LIST", b"junk")
    path.write_bytes(bare.replace(b"AIGC", b"junk"))
    status, document = looked(capsys, path)
    assert (status, document["verdict"]) == (inspect.NONE, "none") == (1, "none")
    assert "proves nothing" in document["said"]["en"][0]


@pytest.mark.parametrize("kind", ["1", "2", "3"])
def test_the_label_of_another_service_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str
) -> None:
    path, chunk = tmp_path / "other.wav", PREVIEW.aigc.replace('"1"', f'"{kind}"').encode()
    head = b"RIFF\0\0\0\0WAVEAIGC" + len(chunk).to_bytes(4, "little")
    path.write_bytes(head + chunk)
    status, document = looked(capsys, path)
    assert (status, document["verdict"]) == (inspect.FOREIGN, "foreign") == (3, "foreign")
    assert document["aigc"]["ContentProducer"] == "Example"
    assert "Example" in document["said"]["zh"][0]


def test_a_damaged_label_is_told_with_its_reason(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = made(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"ProduceID":"0b54', b'"ProduceID":"ffff'))
    status, document = looked(capsys, path)
    assert (status, document["verdict"]) == (inspect.DAMAGED, "damaged") == (4, "damaged")
    assert document["reason"] == "contradiction"
    assert document["label"] is None


def test_a_stranger_s_words_do_not_steer_the_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    fields = {"Label": "1", "ContentProducer": "\x1b[2J\ud800" + "x" * 5000, "ProduceID": "1\n2"}
    chunk, path = json.dumps(fields).encode(), tmp_path / "odd.wav"
    path.write_bytes(b"RIFF\0\0\0\0WAVEAIGC" + len(chunk).to_bytes(4, "little") + chunk)
    assert main(["inspect", str(path), "--lang", "en"]) == inspect.FOREIGN
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert said.strip().isprintable()
    assert len(said) < 400
    assert looked(capsys, path)[0] == inspect.FOREIGN


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "inspect_not_audio"),
        (b"RIFF", "inspect_not_audio"),
        (bytes(5000), "inspect_not_audio"),
        (b"<html>", "inspect_not_audio"),
        (b"\0\0\0\x20ftypM4A ", "inspect_not_audio"),
        (b"fLaC\0", "inspect_cut"),
        (b"OggS\0\2", "inspect_cut"),
        (b"ID3\4\0\0\0\0\1\0TXXX", "inspect_cut"),
    ],
)
def test_what_cannot_be_read_has_its_code(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes, code: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    status, document = looked(capsys, path)
    assert (status, document["problem"]["code"]) == (inspect.NOT_READ, code) == (2, code)
    assert main(["inspect", str(path)]) == inspect.NOT_READ
    assert code in capsys.readouterr().err


@pytest.mark.parametrize("response_format", ["wav", "flac", "opus", "mp3"])
def test_a_file_cut_within_its_tags_is_refused_and_one_cut_in_its_sound_is_not(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, response_format: str
) -> None:
    path = made(tmp_path, response_format)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"ReservedCode1")])
    status, document = looked(capsys, path)
    assert (status, document["problem"]["code"]) == (inspect.NOT_READ, "inspect_cut")
    path.write_bytes(whole[: whole.index(b'"ReservedCode2":""}') + 400])
    assert looked(capsys, path)[0] == inspect.OURS


def test_places_that_are_no_file_are_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for place in (tmp_path, tmp_path / "nowhere", "", "a\0b"):
        status, document = looked(capsys, place)
        assert (status, document["problem"]["code"]) == (inspect.NOT_READ, "inspect_unreadable")


def piped(path: Path, *more: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "cosyhost.cli", "inspect", "-", "--json"]
    with path.open("rb") as file:
        cat = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
        told = subprocess.run([*more, *command], stdin=cat.stdout, capture_output=True, check=False)
        assert cat.stdout
        cat.stdout.close()
        cat.wait()
    return told


@pytest.mark.parametrize("response_format", NAMES)
def test_a_pipe_is_read(tmp_path: Path, response_format: str) -> None:
    told = piped(made(tmp_path, response_format))
    assert told.returncode == inspect.OURS, told.stderr
    assert json.loads(told.stdout)["label"] == PREVIEW.document()


def test_of_a_huge_file_only_the_tags_are_read(tmp_path: Path) -> None:
    """200 MB of sound before the label, from a file and through a pipe, in 100 MB of memory."""
    path, size = tmp_path / "huge.wav", 200_000_000
    tail = tags.wav_chunks(PREVIEW, RATE)
    with path.open("wb") as file:
        file.write(b"RIFF\0\0\0\0WAVEdata" + size.to_bytes(4, "little"))
        file.seek(size, os.SEEK_CUR)
        file.write(tail)
    limit = (100 << 20, 100 << 20)
    for pipe in (False, True):
        with path.open("rb") as file:
            cat = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
            told = subprocess.run(
                [sys.executable, "-m", "cosyhost.cli", "inspect", "-" if pipe else str(path)],
                stdin=cat.stdout,
                capture_output=True,
                check=False,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
            )
            assert cat.stdout
            cat.stdout.close()
            cat.wait()
        assert told.returncode == inspect.OURS, told.stderr


def test_it_runs_where_nothing_is_installed(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-S", "-m", "cosyhost.cli", "inspect", str(made(tmp_path))],
        capture_output=True,
        check=False,
        env={"PYTHONPATH": str(ROOT / "service"), "LANG": "C.UTF-8"},
    )
    assert told.returncode == inspect.OURS, told.stderr


# The page


def commands() -> list[str]:
    page = (ROOT / "docs/labels.md").read_text(encoding="utf-8")
    return [
        line for block in re.findall(r"```sh\n(.*?)```", page, re.S) for line in block.splitlines()
    ]


@pytest.mark.parametrize("command", commands())
def test_each_command_of_the_page_reads_the_label(tmp_path: Path, command: str) -> None:
    for response_format in NAMES:
        made(tmp_path, response_format)
    program = command.split()[0]
    ours = {"cosyhost": f"{sys.executable} -m cosyhost.cli", "python3": sys.executable}
    if program not in ours and shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    told = subprocess.run(
        ours.get(program, program) + command.removeprefix(program),
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert PREVIEW.job in told.stdout
    assert "AI-generated" in told.stdout or '"Label"' in told.stdout


def test_the_page_names_every_exit_status_and_code() -> None:
    page = (ROOT / "docs/labels.md").read_text(encoding="utf-8")
    for status in (inspect.OURS, inspect.NONE, inspect.NOT_READ, inspect.FOREIGN, inspect.DAMAGED):
        assert f"| {status} |" in page
    for code in ("inspect_unreadable", "inspect_not_audio", "inspect_cut"):
        assert f"`{code}`" in page
