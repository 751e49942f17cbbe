"""What is asked of this host, whatever runs on it: for the exporter and the doctor.

The file is written by the role `exporter`; there are no defaults here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from cosyhost import settings_file

DEFAULT_PATH = Path("/etc/cosyhost/exporter.toml")

NotNegative = Annotated[int, Meta(ge=0)]


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the metrics are served; Prometheus is the only client."""

    listen: Annotated[str, Meta(min_length=1)]
    port: Annotated[int, Meta(ge=1, le=65535)]


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a port is meant to negotiate and what the line behind the default route carries.

    Mbit/s (10^6 bits); `uplink_up_mbit` is what the host sends. 0 is unknown.
    """

    nominal_mbit: NotNegative
    uplink_up_mbit: NotNegative
    uplink_down_mbit: NotNegative


class Outputs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The folder of what was spoken, empty where this host has none, and how much it may hold."""

    folder: str
    quota_bytes: NotNegative

    def __post_init__(self) -> None:
        if self.folder and not Path(self.folder).is_absolute():
            raise ValueError("outputs.folder: an absolute path, or empty")


class Service(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where this host's own web process answers; empty where there is none."""

    url: Annotated[str, Meta(pattern=r"^(http://.+)?$")]


class Gpus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many GPUs are to be here; 0 on a host whose engine needs none."""

    expected: NotNegative


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file in which the last retention run says what it did; there may be none yet."""

    record: Annotated[str, Meta(pattern="^/")]


class Backup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file in which the last backup says how it went; there may be none."""

    record: Annotated[str, Meta(pattern="^/")]


class HostConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it."""

    server: Server
    network: Network
    outputs: Outputs
    service: Service
    gpus: Gpus
    retention: Retention
    backup: Backup


def load(path: Path = DEFAULT_PATH) -> HostConfig:
    """Read and check the file.

    Raises:
        Problem: CONFIG_INVALID, naming the file and the first key that is wrong.
    """
    return settings_file.load(path, HostConfig, "cosyhost exporter --check")
