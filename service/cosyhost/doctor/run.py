"""The doctor's round: readings, twice where a rate is wanted, then what they say."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from cosyhost.doctor import checks
from cosyhost.doctor.findings import Finding
from cosyhost.host import network, storage
from cosyhost.host.gpu import Nvml
from cosyhost.host_config import HostConfig

WELL, WARNINGS, FAULTS = 0, 2, 3
AREAS = {"link": "网络 link", "disk": "磁盘 disk", "gpu": "GPU", "service": "服务 service"}

_WANTED = Path("/etc/systemd/system/multi-user.target.wants")
_SITE = Path("/etc/nginx/conf.d/cosyhost.conf")
_ANSWER_S = 10.0


def run(config: HostConfig | None, *, seconds: float, as_json: bool, language: str) -> int:
    """Look, print what was found, and return the exit status: WELL, WARNINGS or FAULTS.

    Without a `config` the host was not provisioned: what the inventory would say is not checked.
    `seconds` is how long rates are measured; `language` is zh, en or both.
    """
    skipped: list[str] = []
    found = list(_all(config, seconds, skipped))
    if as_json:
        print(json.dumps(_document(found, skipped, seconds), ensure_ascii=False, indent=2))
    else:
        _show(found, skipped, ("zh", "en") if language == "both" else (language,))
    if any(finding.sign.fault for finding in found):
        return FAULTS
    return WARNINGS if found else WELL


def _all(config: HostConfig | None, seconds: float, skipped: list[str]) -> Iterator[Finding]:
    if config is None:
        skipped.append("link speed, quota and GPUs as the inventory has them: no settings here")
    before, began = network.interfaces(), time.monotonic()
    if sys.stderr.isatty():
        print(f"cosyhost: measuring for {seconds:g} s 正在测量", file=sys.stderr)
    time.sleep(seconds)
    after, passed_s = network.interfaces(), time.monotonic() - began
    yield from checks.link(
        before,
        after,
        passed_s,
        default_device=network.default_device(),
        nominal_mbit=config.network.nominal_mbit if config else 0,
        up_mbit=config.network.uplink_up_mbit if config else 0,
        down_mbit=config.network.uplink_down_mbit if config else 0,
    )
    yield from _disks(config, skipped)
    nvml = Nvml()
    yield from checks.gpus(nvml.read(), config.gpus.expected if config else 0)
    nvml.close()
    yield from _services(config, skipped)


def _disks(config: HostConfig | None, skipped: list[str]) -> Iterator[Finding]:
    yield from checks.disk("/", storage.filesystem(Path("/")))
    if config is None or not config.outputs.folder:
        return
    folder = Path(config.outputs.folder)
    held = storage.contents(folder)
    if held is None and folder.parent.is_dir():
        # Our folders are closed to others: without root they can't be told from missing ones.
        skipped.append(f"{folder}: run as root to look into it")
        return
    yield from checks.disk(str(folder), storage.filesystem(folder))
    yield from checks.outputs(held, config.outputs.quota_bytes)


def _services(config: HostConfig | None, skipped: list[str]) -> Iterator[Finding]:
    names = sorted(
        path.name
        for pattern in ("cosyhost-*", "redis-server@cosyhost.service")
        for path in _WANTED.glob(pattern)
    )
    if _SITE.exists():
        names.append("nginx.service")
    if not names:
        skipped.append("services: none of ours are installed here")
        return
    yield from checks.units(unit_states(names))
    if config is not None and config.service.url:
        yield from checks.ready(_not_ready(config.service.url))


def unit_states(names: list[str]) -> dict[str, str]:
    """Each unit's ActiveState/SubState."""
    said = subprocess.run(
        ["systemctl", "show", "--property=Id,ActiveState,SubState", *names],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    states = {}
    for block in said.strip().split("\n\n"):
        fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in fields:
            states[fields["Id"]] = f"{fields['ActiveState']}/{fields['SubState']}"
    return states or dict.fromkeys(names, "systemd does not answer")


def _not_ready(url: str) -> str | None:
    """Why the service is not ready; None when it is. The address is this host's own."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{url}/readyz", timeout=_ANSWER_S):
            return None
    except urllib.error.HTTPError as error:
        try:
            said = json.loads(error.read())
            lacking = [name for name in ("redis", "store", "trail") if said.get(name, "ok") != "ok"]
            lacking += [] if said.get("workers") else ["no worker is ready"]
            return ", ".join(lacking) or f"/readyz answers {error.code}"
        except ValueError:
            return f"/readyz answers {error.code}"
    except OSError as error:
        return f"{url} does not answer ({getattr(error, 'reason', error)})"


def _document(found: list[Finding], skipped: list[str], seconds: float) -> dict[str, object]:
    return {
        "well": not found,
        "findings": [finding.document() for finding in found],
        "not_checked": skipped,
        "measured_s": seconds,
    }


def _show(found: list[Finding], skipped: list[str], languages: tuple[str, ...]) -> None:
    for area, title in AREAS.items():
        mine = [finding for finding in found if finding.area == area]
        print(f"{title}: {'ok' if not mine else ''}".rstrip())
        for finding in mine:
            mark = "✗" if finding.sign.fault else "!"
            for at, language in enumerate(languages):
                head = f"{mark} {finding.sign.code}" if at == 0 else ""
                print(f"  {head:<22} {finding.sentence(language)}")
    for line in skipped:
        print(f"not checked 未检查: {line}")
