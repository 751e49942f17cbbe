"""What pip is told inside the hosts: the wheelhouse, or this machine's own index."""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from .settings import Settings

WHEELHOUSE = "/var/cache/wheelhouse"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
INDEX_OPTIONS = ("index-url", "extra-index-url", "trusted-host")


def wheelhouse(settings: Settings, suite: str) -> Path:
    """The folder of wheels that hosts of a suite see at WHEELHOUSE."""
    return settings.wheelhouses / suite


def guest_config(settings: Settings, suite: str) -> str:
    """The /etc/pip.conf of a new host."""
    if any(wheelhouse(settings, suite).glob("*.whl")):
        options = {"no-index": "true", "find-links": WHEELHOUSE}
    else:
        options = index_options()
    return render(options)


def render(options: Mapping[str, str]) -> str:
    """A pip.conf with these options."""
    lines = [f"{name} = {value}" for name, value in options.items()]
    return "\n".join(["[global]", "disable-pip-version-check = true", *lines]) + "\n"


def index_options(
    environ: Mapping[str, str] | None = None, files: Iterable[Path] | None = None
) -> dict[str, str]:
    """This machine's pip index settings; a folder's path means nothing in a host: left out."""
    env = os.environ if environ is None else environ
    home = Path(env.get("HOME") or Path.home())
    if files is None:
        files = (Path("/etc/pip.conf"), home / ".pip/pip.conf", home / ".config/pip/pip.conf")
    found: dict[str, str] = {}
    given = env.get("PIP_CONFIG_FILE")
    for path in [*files, *([Path(given)] if given else [])]:
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(path)
        except (configparser.Error, UnicodeDecodeError):
            continue
        for name in INDEX_OPTIONS:
            if parser.has_option("global", name):
                found[name] = parser.get("global", name)
    for name in INDEX_OPTIONS:
        value = env.get(f"PIP_{name.upper().replace('-', '_')}")
        if value:
            found[name] = value
    kept = {}
    for name, value in found.items():
        words = [word for word in value.split() if name == "trusted-host" or "://" in word]
        words = [word for word in words if not word.startswith("file:")]
        if words:
            kept[name] = " ".join(words)
    return {**kept, "cert": CERTIFICATES}
