"""The bundle's own tools: what is sent, and what is noticed."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.roles.conftest import ROOT

MIB = 1 << 20


def load_module(path: str) -> ModuleType:
    """A role's module, which is in no package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / "roles/bundle" / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


manifest = load_module("files/manifest.py")
loads = load_module("filter_plugins/bundle_loads.py")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle of one wheel of the service, which needs one package."""
    for name in ("service", "wheels", "debs"):
        (tmp_path / name).mkdir()
    (tmp_path / "wheels/thing-1-py3-none-any.whl").write_bytes(b"a wheel")
    (tmp_path / "debs/thing_1%3a2_amd64.deb").write_bytes(b"a package")
    about = {"system": "debian 12", "markers": {"sys_platform": "linux"}}
    (tmp_path / "bundle.json").write_text(json.dumps(about))
    digest = hashlib.sha256(b"a wheel").hexdigest()
    lock = f"thing==1 \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{digest}\n"
    lock += f"other==2 ; sys_platform == 'win32' \\\n    --hash=sha256:{'1' * 64}\n"
    lock += f"thing==1 ; sys_platform == 'linux' \\\n    --hash=sha256:{digest}\n"
    with zipfile.ZipFile(tmp_path / "service/cosyhost-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("cosyhost/requirements/web.txt", lock)
    manifest.write(tmp_path)
    return tmp_path


def test_a_good_bundle_is_what_sha256sum_says_too(bundle: Path) -> None:
    assert manifest.verify(bundle)["about"]["system"] == "debian 12"
    check = ["sha256sum", "--check", "--strict", "--quiet", "MANIFEST.sha256"]
    subprocess.run(check, cwd=bundle, check=True)


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("printf x >>wheels/thing-1-py3-none-any.whl", "MANIFEST", "(changed)"),
        ("rm debs/*.deb", "MANIFEST", "(missing)"),
        ("touch debs/more.deb", "MANIFEST", "(not listed)"),
        ("echo nonsense >>MANIFEST.sha256", "MANIFEST", "nonsense"),
        ("rm MANIFEST.sha256", "INCOMPLETE", "MANIFEST.sha256"),
        ("rm wheels/* && sed -i /wheels/d MANIFEST.sha256", "WHEELS", "thing==1"),
    ],
)
def test_what_is_wrong_is_named(bundle: Path, command: str, code: str, says: str) -> None:
    subprocess.run(command, shell=True, cwd=bundle, check=True)
    with pytest.raises(manifest.WrongBundleError) as wrong:
        manifest.verify(bundle)
    assert (wrong.value.code, says in str(wrong.value)) == (code, True)


def test_what_was_damaged_is_brought_anew_by_the_next_run(bundle: Path) -> None:
    wheel = bundle / "wheels/thing-1-py3-none-any.whl"
    wheel.write_bytes(b"A wheel")
    (bundle / "wheels/.hidden").touch()
    before = manifest.contents(bundle)
    assert manifest.reopen(bundle) == {"damaged": ["wheels/thing-1-py3-none-any.whl"]}
    assert manifest.contents(bundle) == [name for name in before if not name.startswith("wheels/")]
    with pytest.raises(manifest.WrongBundleError, match="MANIFEST"):
        manifest.verify(bundle)
    assert manifest.reopen(bundle) == {"damaged": []}


def test_only_what_lacks_is_sent_in_loads_of_a_bounded_size() -> None:
    wanted = {"a": 200 * MIB, "b": 100 * MIB, "c": 900 * MIB, "d": 1, "e": 2, "there": 5, "cut": 9}
    sent = loads.bundle_loads(wanted, {"there": 5, "cut": 4})
    assert [load["files"] for load in sent] == [["a"], ["b"], ["c"], ["cut", "d", "e"]]
    assert sent[-1]["name"] == "4/4: 3 files, 12 bytes"


def test_what_find_lists_is_read_with_spaces() -> None:
    assert loads.bundle_listed("5 debs/a b.deb\n0 x\n\n  Avail\n77\n") == {
        "debs/a b.deb": 5,
        "x": 0,
    }
