"""The settings: one rendered TOML file in, one frozen object out.

The file is written by the role `service`; there are no defaults here, so that a setting is
declared in one place only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from cosyhost import settings_file

DEFAULT_PATH = Path("/etc/cosyhost/cosyhost.toml")

Positive = Annotated[int, Meta(ge=1)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Word = Annotated[str, Meta(min_length=1)]


class Web(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the web process listens; nginx is the only client from outside."""

    listen: Word
    port: Port


class Redis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The queue. The password is no setting: it comes as a systemd credential."""

    url: Annotated[str, Meta(pattern=r"^(rediss?|unix|sentinel)://")]


class Store(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where `voices/` and `outputs/` lie: `file:///folder`, or `s3://bucket/prefix`.

    `endpoint` and `region` are of S3; an empty endpoint is Amazon's. The key is no setting: it
    comes as a systemd credential.
    """

    url: Annotated[str, Meta(pattern=r"^(file:///.|s3://[a-z0-9])")]
    endpoint: Annotated[str, Meta(pattern=r"^(https?://[^/?#]+/?)?$")]
    region: str


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long outputs stay, how much they may be together, and what must be free beside them.

    0 is no limit. `period_s` is how often a run is due. Below `refuse_below_bytes` of free space no
    new job is taken.
    """

    max_age_s: Annotated[int, Meta(ge=0)]
    max_bytes: Annotated[int, Meta(ge=0)]
    min_free_bytes: Annotated[int, Meta(ge=0)]
    refuse_below_bytes: Annotated[int, Meta(ge=0)]
    period_s: Positive


class Engine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which engine speaks; a key that its kind has no use for is empty.

    `acceleration` is one word because TensorRT and fp16 together give NaN (upstream #1930).
    """

    kind: Literal["espeak", "cosyvoice", "vllm_omni"]
    model_dir: str
    url: str
    acceleration: Literal["none", "fp16", "tensorrt"]

    def __post_init__(self) -> None:
        if self.kind == "cosyvoice" and not Path(self.model_dir).is_absolute():
            raise ValueError("engine.model_dir: kind cosyvoice needs an absolute path")
        if self.kind == "vllm_omni" and not self.url.startswith(("http://", "https://")):
            raise ValueError("engine.url: kind vllm_omni needs the http:// address of its server")


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one request may bring and how many may wait."""

    body_bytes: Positive
    text_chars: Positive
    waiting_jobs: Positive


class Jobs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How jobs run: `children` at once per GPU (`auto`: as many as its memory holds), the longest
    text at most `time_limit_s`, kept `keep_s`.

    A child has `load_timeout_s` to load its engine. It is replaced after `recycle_after_jobs` jobs
    or when it came to use more than `recycle_above_mb` of the host's memory.
    """

    children: Positive | Literal["auto"]
    time_limit_s: Annotated[int, Meta(ge=15)]
    keep_s: Positive
    load_timeout_s: Positive
    recycle_after_jobs: Positive
    recycle_above_mb: Positive


class Studio(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the page offers, and to whom."""

    restart_button: Literal["nobody", "everyone", "admin"]


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What outputs say of themselves: who offers the service (a name, or the code it was given,
    in visible ASCII without quotation mark, backslash and space), and where a sign is heard.
    """

    producer: Annotated[str, Meta(pattern=r"^[!#-\[\]-~]{1,64}$")]
    audible_mark: Literal["none", "start", "end"]


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the tier asks of this host's line to its users, in Mbit/s; 0 asks nothing.

    `up` is what the host sends, which its users download.
    """

    min_up_mbit: Annotated[int, Meta(ge=0)]
    min_down_mbit: Annotated[int, Meta(ge=0)]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings of a release.

    `access`: the service is `open` to whom the network lets in, or asks everybody for a key or a
    sign-in (`keys`); `deployment_key` is the SHA-256 of the key that the deployment itself has.

    `consent`: `none` is asked for, the studio has `asked` for it, or it is `required` of everybody;
    then nothing is cloned unrecorded either.
    """

    tier: Word
    access: Literal["open", "keys"]
    deployment_key: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$")]
    consent: Literal["none", "asked", "required"]
    web: Web
    redis: Redis
    store: Store
    retention: Retention
    engine: Engine
    limits: Limits
    jobs: Jobs
    studio: Studio
    label: Label
    link: Link


def load(path: Path = DEFAULT_PATH) -> Config:
    """Read and check the settings.

    Raises:
        Problem: CONFIG_INVALID, naming the file and the first key that is wrong.
    """
    return settings_file.load(path, Config, "cosyhost check-config")
