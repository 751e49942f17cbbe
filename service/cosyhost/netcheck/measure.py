"""The check: latency, then growing transfers each way, in bounded bytes and seconds.

A transfer counts from its request until its last byte is here, or until the service has said that
its last byte arrived, less the latency: one way there and one back that carry none of its bytes.
What counts are the largest transfers, since smaller ones end before TCP has come up to speed; the
smaller ones before them have warmed the connection up. So the rate is what a person gets over the
same door (TCP's goodput, the service's own milliseconds included), not what the line could carry.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from cosyhost import wire
from cosyhost.netcheck.door import Door

PINGS = 10
FIRST_BYTES = 32_768
GROWTH = 4
MOST_BYTES = 8_000_000
MOST_S = 10.0
ENOUGH_S = 2.0
MOST_TRANSFERS = 8
# TCP over Ethernet delivers at most 94 % of a line's rate (1448 of 1538 bytes of each frame).
HOLDS_FROM = 0.9

Progress = Callable[[str, str], None]
"""Is told how it stands, in English and in Chinese."""


@dataclass(frozen=True)
class Rate:
    """The transfers of one direction that count: bytes and seconds, together."""

    bytes: int
    seconds: float

    @property
    def mbit_s(self) -> float:
        """Mbit/s."""
        return wire.mbit_s(self.bytes, self.seconds)


@dataclass(frozen=True)
class Terms:
    """What a service says of a check. Rates in Mbit/s, 0: nothing is asked of the line.

    `min_up_mbit` is what its host must be able to send: this side's download.
    """

    version: str
    tier: str
    min_up_mbit: float
    min_down_mbit: float
    download_bytes: int
    upload_bytes: int
    prompt_s: float
    prompt_bytes: dict[str, int]


@dataclass(frozen=True)
class Checked:
    """What was measured, seen from here."""

    url: str
    terms: Terms
    latency_s: float
    jitter_s: float
    download: Rate
    upload: Rate

    @property
    def holds(self) -> bool | None:
        """Whether the tier's requirement holds from here; None where it asks nothing."""
        asked = self.terms
        if not asked.min_up_mbit and not asked.min_down_mbit:
            return None
        return (
            self.download.mbit_s >= asked.min_up_mbit * HOLDS_FROM
            and self.upload.mbit_s >= asked.min_down_mbit * HOLDS_FROM
        )

    def prompt_upload_s(self, way: str) -> float:
        """Seconds that the terms' prompt takes from here, sent in one of its ways."""
        return wire.transfer_s(self.terms.prompt_bytes[way], self.upload.mbit_s)


def check(url: str, ca: Path | None = None, progress: Progress = lambda en, zh: None) -> Checked:
    """Measure the line to the service at `url`.

    Takes about 1 s on a quick line and 25 s on a thin one; at most 8 MB each way.

    Raises:
        Problem: a NETCHECK_ kind; see `door`.
    """
    door = Door(url, ca)
    try:
        terms = _terms(door, door.greet())
        door.ping()  # the first opens the way behind the door
        seconds = []
        for turn in range(PINGS):
            progress(f"latency {turn + 1}/{PINGS}", f"延迟 {turn + 1}/{PINGS}")
            seconds.append(door.ping())
        latency_s = statistics.median(seconds)
        # The mean difference between neighbours: RFC 3550's jitter (6.4.1), not smoothed.
        jitter_s = statistics.fmean(abs(later - one) for one, later in pairwise(seconds))

        def told(en: str, zh: str, transfer: Callable[[int], Rate]) -> Callable[[int], Rate]:
            def tell(size: int) -> Rate:
                progress(f"{en} {size / 1e6:.2f} MB", f"{zh} {size / 1e6:.2f} MB")
                return transfer(size)

            return tell

        def download(size: int) -> Rate:
            come, took = door.download(size)
            return Rate(come, net(took, latency_s))

        def upload(size: int) -> Rate:
            return Rate(size, net(door.upload(size), latency_s))

        down = rate_of(told("download", "下载", download), terms.download_bytes)
        up = rate_of(told("upload", "上传", upload), terms.upload_bytes)
        return Checked(door.url, terms, latency_s, jitter_s, down, up)
    finally:
        door.close()


def net(seconds: float, latency_s: float) -> float:
    """Seconds of a transfer without the way there and back; never less than half of them."""
    return max(seconds - latency_s, seconds / 2)


def rate_of(transfer: Callable[[int], Rate], largest: int) -> Rate:
    """Grow until a transfer took long enough, or bytes or seconds are used up."""
    began = time.monotonic()
    left_bytes, size = MOST_BYTES, min(FIRST_BYTES, largest)
    taken: list[Rate] = []
    while len(taken) < MOST_TRANSFERS:
        taken.append(transfer(size))
        left_bytes -= size
        left_s = MOST_S - (time.monotonic() - began)
        last = taken[-1]
        if last.seconds >= ENOUGH_S or left_s <= 0:
            break
        fits = int(last.bytes / last.seconds * left_s)
        following = min(size * GROWTH, largest, left_bytes, fits)
        if following < size:
            break
        size = following
    most = max(one.bytes for one in taken)
    counted = [one for one in taken if one.bytes > most / 2]
    return Rate(sum(one.bytes for one in counted), sum(one.seconds for one in counted))


def _terms(door: Door, document: dict[str, Any]) -> Terms:
    """The greeting, checked."""
    try:
        link, limits, prompt = document["link"], document["limits"], document["prompt"]
        terms = Terms(
            str(document["version"]),
            str(document["tier"]),
            float(link["min_up_mbit"]),
            float(link["min_down_mbit"]),
            int(limits["download_bytes"]),
            int(limits["upload_bytes"]),
            float(prompt["seconds"]),
            {way: int(prompt["bytes"][way]) for way in wire.PROMPT_WAYS},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise door.not_ours("its greeting is not complete") from error
    if min(terms.download_bytes, terms.upload_bytes, terms.prompt_s) < 1:
        raise door.not_ours("its limits make no sense")
    return terms
