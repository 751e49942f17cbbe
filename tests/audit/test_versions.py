"""What is installed is what was released: the release, its pins, and the files that name it."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest
from testinfra.host import Host

from tests.audit.expected import REPOSITORY

pytestmark = pytest.mark.group("worker")
ROOT = "/opt/cosyhost"
CELERY = "5.6.3"  # 5.7.0 ends its worker when Redis resets a connection during a job
COMPARE = """
import json, sys, importlib.metadata as metadata
from pip._vendor.packaging.requirements import Requirement
normal = lambda name: name.lower().replace("_", "-").replace(".", "-")
wanted = {}
for line in json.loads(sys.argv[1]):
    pin = Requirement(line)
    if pin.marker is None or pin.marker.evaluate({"extra": ""}):
        wanted[normal(pin.name)] = str(pin.specifier)[2:]
here = {normal(d.metadata["Name"]): d.version for d in metadata.distributions()}
for tool in ("pip", "setuptools", "wheel", "cosyhost"):
    here.pop(tool, None)
print(json.dumps({name: [wanted.get(name), here.get(name)]
    for name in sorted(wanted.keys() | here.keys()) if wanted.get(name) != here.get(name)}))
"""


def parts(values: dict[str, Any]) -> list[str]:
    """The virtual environments of this host."""
    return [part for part in ("web", "worker") if values[f"service_{part}_enabled"]]


@pytest.mark.control(
    "RELEASE-WHOLE",
    "versions",
    why="a half-installed release fails when it is needed",
    zh="装了一半的版本会在需要时出错",
)
def test_current_points_to_a_complete_release(host: Host, values: dict[str, Any]) -> None:
    target = host.check_output(f"readlink {ROOT}/current")
    assert re.fullmatch(r"releases/[^/]+", target), f"current points to {target!r}"
    for part in parts(values):
        assert host.file(f"{ROOT}/current/{part}/complete").exists, f"{target}: {part} is not whole"
    assert not host.file(f"{ROOT}/switching").exists, "a switch was begun and never ended"
    said = host.run(f"{ROOT}/current/{parts(values)[0]}/bin/cosyhost check-config")
    assert said.rc == 0, said.stdout + said.stderr


@pytest.mark.control(
    "RELEASE-ID",
    "versions",
    why="the name of a release says what it is made of",
    zh="版本的名称说明它由什么构成",
)
def test_the_release_is_named_after_its_contents(host: Host, values: dict[str, Any]) -> None:
    name = host.check_output(f"basename $(readlink {ROOT}/current)")
    document = json.loads(host.check_output(f"cat {ROOT}/current/RELEASE.json"))
    assert document["release"] == name, f"RELEASE.json says {document['release']}, it is {name}"
    link = host.check_output("readlink -f /etc/cosyhost/cosyhost.toml")
    assert link.startswith(f"{ROOT}/releases/{name}/config-"), f"the configuration is {link}"
    wheel = host.check_output(f"sha256sum {ROOT}/current/{document['wheel']}").split()[0]
    digest = hashlib.sha256(f"{wheel} {document['engine']}".encode()).hexdigest()[:8]
    assert name.endswith(f"-{digest}"), f"{name} has contents of {digest}"


@pytest.mark.control(
    "RELEASE-UNITS",
    "versions",
    why="units of another release start what is not there",
    zh="属于其他版本的单元会启动不存在的程序",
)
def test_the_units_are_those_of_the_release(host: Host, values: dict[str, Any]) -> None:
    names = {"web": "cosyhost-web.service", "worker": "cosyhost-worker@.service"}
    for part in parts(values):
        unit = names[part]
        said = host.run(f"cmp {ROOT}/current/config/{unit} /etc/systemd/system/{unit}")
        assert said.rc == 0, said.stdout + said.stderr


@pytest.mark.control(
    "RELEASE-PINS",
    "versions",
    why="what was tested is what runs, to the version",
    zh="测试过什么就运行什么，精确到版本",
)
def test_installed_packages_equal_the_pins(host: Host, values: dict[str, Any]) -> None:
    wrong = []
    for part in parts(values):
        lock = REPOSITORY / "files/requirements" / f"{part}.txt"
        said = host.check_output(
            f"{ROOT}/current/{part}/bin/python -c %s %s",
            COMPARE,
            json.dumps(pins(lock.read_text())),
        )
        wrong += [f"{part}: {name} is {have or 'absent'}, pinned to {want or 'nothing'}"
                  for name, (want, have) in json.loads(said).items()]  # fmt: skip
    assert not wrong, "\n".join(wrong)


@pytest.mark.control(
    "RELEASE-LOCKS",
    "versions",
    why="pins without hashes can be anything",
    zh="没有哈希的版本锁定可以是任何东西",
)
def test_the_release_was_made_with_the_hash_locks(host: Host, values: dict[str, Any]) -> None:
    for part in parts(values):
        lock = (REPOSITORY / "files/requirements" / f"{part}.txt").read_bytes()
        there = host.check_output(f"sha256sum {ROOT}/current/{part}.txt").split()[0]
        assert there == hashlib.sha256(lock).hexdigest(), f"{part}.txt is another one: run site.yml"


@pytest.mark.control(
    "RELEASE-CELERY",
    "versions",
    why="Celery 5.7.0 loses its worker when Redis hangs up",
    zh="Redis 断开时 Celery 5.7.0 会失去它的工作进程",
)
def test_celery_is_the_version_that_loses_no_job(host: Host, values: dict[str, Any]) -> None:
    for part in parts(values):
        said = host.check_output(
            f"{ROOT}/current/{part}/bin/python -c "
            "'import importlib.metadata as m; print(m.version(\"celery\"))'"
        )
        assert said == CELERY, f"{part}: {said}"


def pins(lock: str) -> list[str]:
    """The requirements of a lock file without their hashes."""
    return [line.rstrip(" \\") for line in lock.splitlines() if re.match(r"[A-Za-z0-9]", line)]
