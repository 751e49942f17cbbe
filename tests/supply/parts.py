"""What else than Python packages hosts get: npm's files, upstream, the model, Debian's packages."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import yaml

from tests.supply import ROOT, SupplyError

# The submodule that a commit of CosyVoice pins; hosts read it out of the tree themselves.
_MATCHA = {"ace7c47f41bbd303aa6bf1ea80e6f9fbd595cd40": "dd9105b34bf2be2230f4aa1e4769fb586a3c824e"}
# Lists of packages that are not named after their role.
_LISTS = {"base": ["__base_packages", "__base_clock"]}
# Comes from where `grafana_source` says.
GRAFANA = "grafana"


@dataclass(frozen=True)
class Npm:
    """A package of npm's registry."""

    name: str
    version: str
    integrity: str

    @property
    def sha512(self) -> str:
        """Its integrity as hexadecimal; the registry writes base64."""
        algorithm, _, digest = self.integrity.partition("-")
        raw = base64.b64decode(digest, validate=True)
        if algorithm != "sha512" or len(raw) != 64:
            raise SupplyError(f"{self.name}: {self.integrity!r} is no sha512")
        return raw.hex()


@dataclass(frozen=True)
class Commit:
    """A git repository at one commit."""

    name: str
    url: str
    commit: str


@cache
def _build_hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "service/hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def packed() -> list[Npm]:
    """What of npm's registry is packed into the service's wheel."""
    return [Npm(one.name, one.version, one.integrity) for one in _build_hook().BORROWED]


def bundler() -> Npm:
    """What bundles the page's own scripts; it stays on the machine that builds the wheel."""
    one = _build_hook().ESBUILD
    return Npm(one.name, one.version, one.integrity)


def pictures() -> list[Npm]:
    """The npm packages that draw the dashboards' pictures, on a developer's machine."""
    text = (ROOT / "dashboards/render/package-lock.json").read_text(encoding="utf-8")
    found = {
        Npm(place.rpartition("node_modules/")[2], entry["version"], entry.get("integrity", ""))
        for place, entry in json.loads(text)["packages"].items()
        if place
    }
    return sorted(found, key=lambda one: (one.name, one.version))


def upstream() -> list[Commit]:
    """CosyVoice and its submodule, as the role `engine` fetches them."""
    defaults = _yaml("roles/engine/defaults/main.yml")
    commit = defaults["engine_upstream_commit"]
    if commit not in _MATCHA:
        raise SupplyError(
            f"Which Matcha-TTS belongs to CosyVoice {commit}? Add what this prints to _MATCHA in "
            f"tests/supply/parts.py: git ls-tree {commit} third_party/Matcha-TTS"
        )
    return [
        Commit("CosyVoice", defaults["engine_upstream_url"], commit),
        Commit("Matcha-TTS", defaults["engine_matcha_url"], _MATCHA[commit]),
    ]


def model() -> dict[str, Any]:
    """The manifest of the model, as the role `model` proves its files with."""
    path = ROOT / "files/models/cosyvoice3-0.5b-2512.json"
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def grafana_version() -> str:
    """The release that `grafana_source: apt` installs."""
    return str(_yaml("files/grafana/release.yml")["version"])


def debian() -> list[str]:
    """The packages that roles install by name, in any tier; apt brings what these need."""
    names = {GRAFANA}
    for path in sorted((ROOT / "roles").glob("*/vars/main.yml")):
        role = path.parents[1].name
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        for key in _LISTS.get(role, [f"__{role}_packages"]):
            names.update(_named(values.get(key, [])))
    probes = _yaml("roles/probes/vars/main.yml")["__probes_known"]
    names.update(probe["package"] for probe in probes.values())
    return sorted(names)


def _named(value: list[str] | str) -> list[str]:
    # A template: what stands in its lists, whatever it chooses between.
    if isinstance(value, str):
        lists = re.findall(r"\[([^\[\]]*)\]", value)
        return [name for text in lists for name in re.findall(r"'([^']+)'", text)]
    return value


def _yaml(place: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROOT / place).read_text(encoding="utf-8"))
    return values
