"""A host without a way out is provisioned from a bundle, and a wrong bundle changes nothing.

The bundle is of kind cosyvoice, with the STAND-INs of tests/standin_cosyvoice as upstream and of
tests/standin_grafana as Grafana.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import standin, voice
from tests.e2e.tier import BUILD, ROOT, Run, Tier, changes, mark
from tests.standin_grafana import package
from tests.testbed import Testbed
from tests.testbed.pip import WHEELHOUSE

MANIFEST = ROOT / "roles/bundle/files/manifest.py"


@dataclass(frozen=True)
class Made:
    """A bundle: its folder, what the inventory said, the run."""

    folder: Path
    values: dict[str, object]
    run: Run

    def arguments(self, folder: Path | None = None) -> tuple[str, str]:
        """Variables for site.yml; what would send pip elsewhere is none that pip knows."""
        elsewhere = {
            "engine_pip_args": ["--elsewhere"],
            "service_pip_args": ["--elsewhere"],
            "grafana_package": "/elsewhere.deb",
        }
        return "-e", json.dumps(
            {**self.values, **elsewhere, "offline_bundle": str(folder or self.folder)}
        )


@pytest.fixture(scope="module")
def made(lan: Tier, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A bundle made on the lan tier's host, which is online and has the same system."""
    folder = BUILD / "bundle"
    _, values = standin.bring(lan.host, tmp_path_factory.mktemp("upstream"))
    values["engine_pip_args"] = ["--find-links", WHEELHOUSE]
    grafana = package.deb(tmp_path_factory.mktemp("grafana"))  # a STAND-IN for it too
    values["backup_repository"] = "/srv/backup"  # no place for one, but restic must come along
    values["grafana_source"] = "package"
    values["grafana_package"] = str(grafana)
    values["grafana_package_sha256"] = package.sha256(grafana)
    arguments = json.dumps({**values, "offline_bundle": str(folder)})
    run = lan.play("bundle", "-e", arguments)
    lan.host.run("sh", "-c", "rm -rf /srv/git /srv/git.tar.gz /srv/model")
    return Made(folder, values, run)


@pytest.fixture(scope="module")
def bundle(made: Made) -> Made:
    """The same, when it is whole."""
    assert made.run.rc == 0, made.run.tail
    return made


@pytest.fixture(scope="module")
def offline(bed: Testbed, lan: Tier, control: Path, pytestconfig: pytest.Config) -> Iterator[Tier]:
    """A bare host with no route out, in the place of the lan tier's."""
    host = bed.up("voice-off", suite=lan.host.suite)
    host.cut_off()
    inventory = BUILD / "offline.yml"
    own = bed.inventory_yaml(names=[host.name]).replace(f"{host.name}:", f"{lan.host.name}:")
    inventory.write_text(own, encoding="utf-8")
    yield Tier("offline", host, [ROOT / "inventories/lan", inventory], control, f"http://{host.ip}")
    if not pytestconfig.getoption("--keep-hosts"):
        host.down()


def test_the_host_has_no_way_out(offline: Tier) -> None:
    assert offline.host.run("ip", "route", "show", "default").stdout == ""
    for command in (
        "getent ahosts debian.org",
        "grep -rhoE 'https?://[^/ ]+' /etc/apt/sources.list* | head -n 1 | xargs curl -sS -m 3",
        "apt-get update --error-on=any -o Acquire::Retries=0",
    ):
        assert offline.host.run("sh", "-c", command, check=False).returncode != 0, command


def _flip(folder: Path) -> None:
    wheel = next(folder.glob("wheels/numpy-*.whl"))
    data = bytearray(wheel.read_bytes())
    data[len(data) // 2] ^= 1
    wheel.unlink()  # a link to the good one
    wheel.write_bytes(data)


def _lose(folder: Path) -> None:
    next(folder.glob("debs/nginx_*.deb")).unlink()


def _never_had(folder: Path) -> None:
    next(folder.glob("wheels/fastapi-*.whl")).unlink()
    _close(folder)


def _half(folder: Path) -> None:
    (folder / "MANIFEST.sha256").unlink()


def _other_system(folder: Path) -> None:
    about = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    (folder / "bundle.json").unlink()
    (folder / "bundle.json").write_text(json.dumps(about | {"system": "debian 11 amd64 python3.9"}))
    _close(folder)


def _close(folder: Path) -> None:
    (folder / "MANIFEST.sha256").unlink()
    subprocess.run([sys.executable, MANIFEST, "write", folder], check=True, capture_output=True)


FAULTS: dict[str, tuple[Callable[[Path], None], str, str, str]] = {
    "a changed byte": (_flip, "COSY-BUNDLE-MANIFEST", "(changed)", "与清单不符"),
    "a lost package": (_lose, "COSY-BUNDLE-MANIFEST", "(missing)", "与清单不符"),
    "a wheel that never came": (_never_had, "COSY-BUNDLE-WHEELS", "fastapi==", "缺少服务所需的包"),
    "half made": (_half, "COSY-BUNDLE-INCOMPLETE", "MANIFEST.sha256", "不是完整的离线包"),
    "another system": (_other_system, "COSY-BUNDLE-SYSTEM", "debian 11 amd64", "离线包适用于"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_bundle_is_refused_and_changes_nothing(
    offline: Tier, bundle: Made, fault: str
) -> None:
    spoil, code, says, says_zh = FAULTS[fault]
    folder = BUILD / "wrong-bundle"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bundle.folder, folder, copy_function=os.link)
    spoil(folder)
    mark(offline.host)
    run = offline.play("site", *bundle.arguments(folder))
    shutil.rmtree(folder)
    assert run.rc != 0, run.tail
    assert f"[{code}]" in run.said, run.tail
    assert says in run.said
    assert says_zh in run.said
    assert changes(offline.host) == []


def test_a_host_without_a_way_out_comes_to_speak(
    offline: Tier, bundle: Made, prompt: bytes
) -> None:
    arguments = bundle.arguments()
    check = offline.play("site", *arguments, "--check")
    assert check.rc == 0, check.tail
    mark(offline.host)
    run = offline.provision(*arguments)
    print(f"offline: {run.seconds:.0f} s")
    assert [path for path in changes(offline.host) if path.startswith("/etc/apt/")] == []
    with offline.client() as client:
        answer = voice.speak(client, prompt)
    assert answer.headers["x-cosyhost-engine"].startswith("cosyvoice")
    assert voice.seconds(answer.content) > 1
    (upstream,) = offline.host.run(
        "sh", "-c", "echo /opt/cosyhost/engines/*/upstream"
    ).stdout.split()
    head = offline.host.run("git", "-C", upstream, "rev-parse", "HEAD").stdout.strip()
    assert head == bundle.values["engine_upstream_commit"]
    offline.host.run("test", "-d", f"{upstream}/third_party/Matcha-TTS/matcha")
    health = "http://127.0.0.1:3000/api/health"
    ask = f"from urllib.request import urlopen; print(urlopen('{health}').status)"
    assert offline.host.run("python3", "-c", ask).stdout == "200\n"
    saved = offline.play("backup", *arguments)
    assert saved.rc == 0, saved.tail
    assert "voice-lan: snapshot " in saved.said
    again = offline.provision(*arguments)
    assert again.recap("voice-lan")["changed"] == 0, again.tail
    assert offline.host.run("ip", "route", "show", "default").stdout == ""


def test_making_a_bundle_says_what_it_takes_and_leaves_its_host_tidy(
    lan: Tier, bundle: Made
) -> None:
    assert "A host needs as much again" in bundle.run.said
    assert not lan.host.run("ls", "/var/cache/cosyhost-bundle-work", check=False).stdout
