"""What every output says of itself: that a machine made it, with what, when, and as which job.

Two sentences in each file, since China's rules fix the one and leave no room in it for the other:

* The implicit label of the measures for labelling AI-generated and synthetic content
  (人工智能生成合成内容标识办法, in force since 2025-09-01, article 5) in the form of the standard
  GB 45438-2025, annex E: a field `AIGC` whose value is a JSON object of seven strings. `Label` is
  "1" for what is generated, "2" for what may be, "3" for what is suspected to be. On the first
  writing the propagator and its number are the producer and its number (annex E, note 1). Values
  keep to the visible ASCII characters without quotation mark, backslash and space (annex E j).
  A file has one such label (6.1 c).
* A comment, which any player shows and `read` understands.

Where they lie in which container is `tags`' matter. Python's own library only, so that
`cosyhost inspect` runs wherever the sources are.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from cosyhost import __version__

SERVICE = "CosyHost"
AIGC_FIELDS = (
    *("Label", "ContentProducer", "ProduceID", "ReservedCode1"),
    *("ContentPropagator", "PropagateID", "ReservedCode2"),
)
GENERATED = "1"

_TOKEN = re.compile(r"[!#-\[\]-~]{1,64}")
_COMMENT = re.compile(
    r"AI-generated speech; (?P<what>PREVIEW, no cloned voice|cloned voice); "
    rf"engine (?P<engine>\S+); {SERVICE} (?P<version>\S+); made (?P<created>\S+); job (?P<job>\S+)"
)
_CREATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True)
class Label:
    """The mark of one output.

    `preview` is true where the engine clones nobody. `created` is when its first sound was made,
    UTC, as 2025-11-03T09:30:00Z. `producer` is who offers the service: a name or the code it was
    given. All are at most 64 characters of those that annex E allows.
    """

    engine: str
    preview: bool
    created: str
    job: str
    producer: str = SERVICE
    version: str = __version__

    def __post_init__(self) -> None:
        for value in (self.engine, self.job, self.producer, self.version):
            if not _TOKEN.fullmatch(value):
                raise ValueError(f"not fit for a label: {value!r}")
        if not _CREATED.fullmatch(self.created):
            raise ValueError(f"not a time in UTC: {self.created!r}")
        datetime.fromisoformat(self.created[:-1])

    @property
    def comment(self) -> str:
        """One line of ASCII for people, of at most 300 characters."""
        what = "PREVIEW, no cloned voice" if self.preview else "cloned voice"
        return (
            f"AI-generated speech; {what}; engine {self.engine}; {SERVICE} {self.version}; "
            f"made {self.created}; job {self.job}"
        )

    @property
    def software(self) -> str:
        """Program and version, as files name them."""
        return f"{SERVICE} {self.version}"

    @property
    def aigc(self) -> str:
        """The value of the field `AIGC`."""
        whose = (self.producer, self.job, "")
        values = (GENERATED, *whose, *whose)
        return json.dumps(dict(zip(AIGC_FIELDS, values, strict=True)), separators=(",", ":"))

    def document(self) -> dict[str, Any]:
        """The label as programs take it: of `cosyhost inspect --json` and of the API's header."""
        return {
            "ai_generated": True,
            "service": SERVICE,
            "version": self.version,
            "engine": self.engine,
            "preview": self.preview,
            "created": self.created,
            "job": self.job,
            "producer": self.producer,
        }

    def header(self) -> dict[str, str]:
        """The response header that says it of sound in whatever format."""
        return {"X-CosyHost-Label": json.dumps(self.document(), separators=(",", ":"))}


def utc(seconds: float) -> str:
    """Unix seconds as `Label.created` has them."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


Verdict = Literal["cosyhost", "foreign", "damaged", "none"]


@dataclass(frozen=True)
class Reading:
    """What a file's two sentences come to.

    `cosyhost`: ours, whole. `foreign`: labelled as annex E has it, by somebody else. `damaged`:
    there is a label, but `reason` keeps it from being taken at its word. `none`: no label.
    """

    verdict: Verdict
    label: Label | None = None
    aigc: dict[str, str] | None = None
    reason: Literal["", "aigc_malformed", "aigc_twice", "aigc_missing", "contradiction"] = ""


def read(comments: list[str], aigc: list[str]) -> Reading:
    """Judge what was found in a file; neither list need hold anything of ours."""
    said = next((found for text in comments if (found := _COMMENT.fullmatch(text))), None)
    fields = _fields(aigc[0]) if aigc else None
    if len(set(aigc)) > 1:
        return Reading("damaged", aigc=fields, reason="aigc_twice")
    if aigc and fields is None:
        return Reading("damaged", reason="aigc_malformed")
    if said is None:
        return Reading("foreign", aigc=fields) if fields else Reading("none")
    if fields is None:
        return Reading("damaged", reason="aigc_missing")
    try:
        label = Label(
            engine=said["engine"],
            preview=said["what"].startswith("PREVIEW"),
            created=said["created"],
            job=said["job"],
            producer=fields["ContentProducer"],
            version=said["version"],
        )
    except ValueError:
        return Reading("damaged", aigc=fields, reason="contradiction")
    if fields["ProduceID"] != label.job or fields["Label"] != GENERATED:
        return Reading("damaged", aigc=fields, reason="contradiction")
    return Reading("cosyhost", label, fields)


def _fields(value: str) -> dict[str, str] | None:
    """The seven strings; also where they lie in an object `AIGC`, as annex E prints them.

    The reserved ones and those of the propagator may be missing: others leave them out.
    """
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict) and isinstance(found.get("AIGC"), dict):
        found = found["AIGC"]
    if not isinstance(found, dict):
        return None
    fields = {name: found.get(name, "") for name in AIGC_FIELDS}
    if not all(isinstance(field, str) for field in fields.values()):
        return None
    known = fields["Label"] in ("1", "2", "3") and fields["ContentProducer"] and fields["ProduceID"]
    return fields if known else None
