"""The plan itself: needs in, figures and a tier out. Nothing here prints or reads a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from cosyhost.plan import queue
from cosyhost.plan.sizes import (
    OUTPUT_BYTES_PER_S,
    PAGE_BYTES,
    PAGE_UNOPTIMISED_BYTES,
    PROMPT_BYTES_PER_S,
    mbit_per_s,
    together_s,
    transfer_s,
)

# Upstream's figure for one job at a time: offline, TensorRT-LLM, one L20. Jobs at once share the
# GPU; without a measurement no gain is assumed from that, so each takes as many times longer.
RTF_ALONE = 0.109
# The limits of the alerts: the slowest twentieth of waits and uploads, and a full line.
WAIT_LIMIT_S = 20.0
WAIT_SHARE = 0.95
UPLOAD_LIMIT_S = 30.0
LINE_FULL = 0.9
# One host is enough while fewer jobs than this find its queue full.
REFUSED_LIMIT = 0.01
# What one server's board holds.
GPUS_PER_HOST = 8
# From here on a line is taken for the same switch, not for the internet.
SWITCH_MBIT = 1000.0


@dataclass(frozen=True)
class Tier:
    """A tier's values that a plan depends on (the design's table; inventories/<tier>)."""

    name: str
    waiting_jobs: int
    keep_days: float
    quota_bytes: float
    link_mbit: float
    """What it asks of the server's line, both ways; 0: nothing."""


TIERS = {
    tier.name: tier
    for tier in (
        Tier("local", 8, 7, 5e9, 0),
        Tier("lan", 16, 30, 50e9, SWITCH_MBIT),
        Tier("demo", 16, 1, 5e9, 50),
        Tier("production", 200, 7, 200e9, 0),
    )
}
_ONE_HOST = {"machine": "local", "lan": "lan", "internet": "demo"}
REACHES = ("auto", *_ONE_HOST)


@dataclass(frozen=True)
class Needs:
    """What is asked for. Lines in Mbit/s; the defaults are ten people at home trying a demo."""

    users: int = 10
    jobs_per_user_hour: float = 12.0
    hours_per_day: float = 8.0
    prompt_s: float = 15.0
    codec: str = "flac"
    audio_s: float = 15.0
    output: str = "wav"
    up_mbit: float = 10.0
    down_mbit: float = 100.0
    link_up_mbit: float = 50.0
    link_down_mbit: float = 50.0
    gpus: int = 1
    jobs_per_gpu: int = 2
    rtf: float | None = None
    """Seconds of synthesis per second of speech with all of a GPU's jobs running."""
    keep_days: float | None = None
    """None: as the tier has it."""
    reach: str = "auto"

    @property
    def working_rtf(self) -> float:
        """The given real-time factor, or the assumed one."""
        return RTF_ALONE * self.jobs_per_gpu if self.rtf is None else self.rtf

    @property
    def service_s(self) -> float:
        """Seconds that a job holds its place on a GPU. The upload is over by then."""
        return self.audio_s * self.working_rtf

    @property
    def jobs_per_s(self) -> float:
        """All users' jobs per second in a busy hour."""
        return self.users * self.jobs_per_user_hour / 3600

    @property
    def load(self) -> float:
        """Offered load in erlangs: jobs that would run at once if none had to wait."""
        return self.jobs_per_s * self.service_s

    @property
    def prompt_bytes(self) -> float:
        """One prompt as it is sent."""
        return self.prompt_s * PROMPT_BYTES_PER_S[self.codec]

    @property
    def output_bytes(self) -> float:
        """One output as it is fetched and kept."""
        return self.audio_s * OUTPUT_BYTES_PER_S[self.output]


@dataclass(frozen=True)
class User:
    """One user alone on their own line."""

    prompt_bytes: float
    output_bytes: float
    page_bytes: float
    page_unoptimised_bytes: tuple[float, float]
    upload_s: float
    upload_by_codec_s: dict[str, float]
    download_s: float
    page_s: float
    page_unoptimised_s: tuple[float, float]
    job_s: float | None
    """From click to the whole output: upload, mean wait, synthesis, download."""


@dataclass(frozen=True)
class Together:
    """All users at the same moment over the server's line; and the line in a busy hour.

    The server receives prompts on its download side and sends speech on its upload side.
    """

    upload_bytes: float
    download_bytes: float
    total_bytes: float
    upload_s: float
    download_s: float
    page_s: float
    mean_link_down_mbit: float
    mean_link_up_mbit: float


@dataclass(frozen=True)
class Capacity:
    """What the GPUs do at most."""

    jobs_at_once: int
    service_s: float
    rtf: float
    jobs_per_hour: float
    audio_s_per_s: float
    users_at_most: int
    """How many such users may come before one wait in twenty is over `WAIT_LIMIT_S`."""


@dataclass(frozen=True)
class Queue:
    """Waiting for a GPU, by M/M/c. The waits are None when the load is not below capacity."""

    load_erlangs: float
    utilisation: float
    holds: bool
    wait_probability: float
    wait_mean_s: float | None
    wait_p95_s: float | None
    refused_share: float | None
    """Jobs that find the tier's queue full; an upper estimate."""
    gpus_enough: int
    """The fewest GPUs with which 95 % of jobs wait at most `WAIT_LIMIT_S`."""
    all_at_once_last_wait_s: float
    """If all users press the button together: the wait of the last one."""
    all_at_once_refused: int


@dataclass(frozen=True)
class Disk:
    """Outputs on disk."""

    jobs_per_day: float
    day_bytes: float
    keep_days: float
    kept_bytes: float
    quota_bytes: float


@dataclass(frozen=True)
class Finding:
    """Something to say about the plan: a reason for its tier, a note, or what does not hold."""

    code: str
    figures: Mapping[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """All of it. `problems` do not hold and need a change; `notes` are worth knowing."""

    needs: Needs
    user: User
    together: Together
    capacity: Capacity
    queue: Queue
    disk: Disk
    tier: str
    reasons: list[Finding]
    problems: list[Finding]
    notes: list[Finding]


def make(needs: Needs) -> Plan:
    """Work out the plan; the needs are taken as valid (see `cosyhost.plan.command`)."""
    places = needs.gpus * needs.jobs_per_gpu
    enough = queue.servers_for(
        needs.load, needs.service_s, needs.jobs_per_gpu, WAIT_SHARE, WAIT_LIMIT_S
    )
    waits = queue.waiting(places, needs.load, needs.service_s)
    tier, reasons = _tier(needs, max(places, enough))
    keep_days = tier.keep_days if needs.keep_days is None else needs.keep_days
    day_bytes = _jobs_per_day(needs) * needs.output_bytes
    waiting_room = places + tier.waiting_jobs
    upload_s = transfer_s(needs.prompt_bytes, needs.up_mbit)
    download_s = transfer_s(needs.output_bytes, needs.down_mbit)
    user = User(
        prompt_bytes=needs.prompt_bytes,
        output_bytes=needs.output_bytes,
        page_bytes=PAGE_BYTES,
        page_unoptimised_bytes=PAGE_UNOPTIMISED_BYTES,
        upload_s=upload_s,
        upload_by_codec_s={
            codec: transfer_s(needs.prompt_s * rate, needs.up_mbit)
            for codec, rate in PROMPT_BYTES_PER_S.items()
        },
        download_s=download_s,
        page_s=transfer_s(PAGE_BYTES, needs.down_mbit),
        page_unoptimised_s=(
            transfer_s(PAGE_UNOPTIMISED_BYTES[0], needs.down_mbit),
            transfer_s(PAGE_UNOPTIMISED_BYTES[1], needs.down_mbit),
        ),
        job_s=upload_s + waits.mean_s + needs.service_s + download_s if waits else None,
    )
    upload_bytes = needs.users * needs.prompt_bytes
    download_bytes = needs.users * needs.output_bytes
    together = Together(
        upload_bytes=upload_bytes,
        download_bytes=download_bytes,
        total_bytes=upload_bytes + download_bytes,
        upload_s=together_s(needs.prompt_bytes, needs.users, needs.up_mbit, needs.link_down_mbit),
        download_s=together_s(needs.output_bytes, needs.users, needs.down_mbit, needs.link_up_mbit),
        page_s=together_s(PAGE_BYTES, needs.users, needs.down_mbit, needs.link_up_mbit),
        mean_link_down_mbit=mbit_per_s(needs.jobs_per_s * needs.prompt_bytes),
        mean_link_up_mbit=mbit_per_s(needs.jobs_per_s * needs.output_bytes),
    )
    plan = Plan(
        needs=needs,
        user=user,
        together=together,
        capacity=Capacity(
            jobs_at_once=places,
            service_s=needs.service_s,
            rtf=needs.working_rtf,
            jobs_per_hour=places * 3600 / needs.service_s,
            audio_s_per_s=places / needs.working_rtf,
            users_at_most=_users_at_most(needs, places),
        ),
        queue=Queue(
            load_erlangs=needs.load,
            utilisation=needs.load / places,
            holds=waits is not None,
            wait_probability=waits.probability if waits else 1.0,
            wait_mean_s=waits.mean_s if waits else None,
            wait_p95_s=waits.quantile_s(WAIT_SHARE) if waits else None,
            refused_share=waits.finds_waiting(tier.waiting_jobs) if waits else None,
            gpus_enough=enough // needs.jobs_per_gpu,
            all_at_once_last_wait_s=(math.ceil(min(needs.users, waiting_room) / places) - 1)
            * needs.service_s,
            all_at_once_refused=max(0, needs.users - waiting_room),
        ),
        disk=Disk(
            jobs_per_day=_jobs_per_day(needs),
            day_bytes=day_bytes,
            keep_days=keep_days,
            kept_bytes=day_bytes * keep_days,
            quota_bytes=tier.quota_bytes,
        ),
        tier=tier.name,
        reasons=reasons,
        problems=[],
        notes=[],
    )
    plan.problems.extend(_problems(plan, tier))
    plan.notes.extend(_notes(plan))
    return plan


def _users_at_most(needs: Needs, places: int) -> int:
    """Halve the interval: more users never wait less."""
    each = needs.jobs_per_user_hour / 3600 * needs.service_s
    fits, too_many = 0, math.ceil(places / each)
    while too_many - fits > 1:
        users = (fits + too_many) // 2
        waits = queue.waiting(places, users * each, needs.service_s)
        if waits and waits.quantile_s(WAIT_SHARE) <= WAIT_LIMIT_S:
            fits = users
        else:
            too_many = users
    return fits


def _jobs_per_day(needs: Needs) -> float:
    return needs.users * needs.jobs_per_user_hour * needs.hours_per_day


def _reach(needs: Needs) -> str:
    """Where the users are: as given, else by how fast all lines are."""
    if needs.reach != "auto":
        return needs.reach
    lines = (needs.up_mbit, needs.down_mbit, needs.link_up_mbit, needs.link_down_mbit)
    if min(lines) < SWITCH_MBIT:
        return "internet"
    return "machine" if needs.users == 1 else "lan"


def _tier(needs: Needs, places: int) -> tuple[Tier, list[Finding]]:
    """The tier of one host for this reach; production when `places` on one host do not do."""
    reach = _reach(needs)
    tier = TIERS[_ONE_HOST[reach]]
    gpus = places // needs.jobs_per_gpu
    keep_days = tier.keep_days if needs.keep_days is None else needs.keep_days
    kept_bytes = _jobs_per_day(needs) * needs.output_bytes * keep_days
    waits = queue.waiting(places, needs.load, needs.service_s)
    refused = waits.finds_waiting(tier.waiting_jobs) if waits else 1.0
    outgrown = []
    if gpus > GPUS_PER_HOST:
        outgrown.append(Finding("outgrown_gpus", {"gpus": gpus, "limit": GPUS_PER_HOST}))
    if refused > REFUSED_LIMIT:
        figures = {"refused": refused, "waiting": tier.waiting_jobs}
        outgrown.append(Finding("outgrown_queue", {**figures, "tier": tier.name}))
    if kept_bytes > tier.quota_bytes:
        figures = {"kept_bytes": kept_bytes, "quota_bytes": tier.quota_bytes}
        outgrown.append(Finding("outgrown_disk", {**figures, "tier": tier.name}))
    if outgrown:
        return TIERS["production"], outgrown
    return tier, [Finding(f"reach_{reach}")]


def _problems(plan: Plan, tier: Tier) -> list[Finding]:
    needs, waits = plan.needs, plan.queue
    found = []
    if not waits.holds:
        figures = {"load": waits.load_erlangs, "places": plan.capacity.jobs_at_once}
        found.append(Finding("overload", {**figures, "gpus": waits.gpus_enough}))
    elif waits.wait_p95_s is not None and waits.wait_p95_s > WAIT_LIMIT_S:
        figures = {"wait_s": waits.wait_p95_s, "limit_s": WAIT_LIMIT_S}
        found.append(Finding("wait_long", {**figures, "gpus": waits.gpus_enough}))
    if plan.user.upload_s > UPLOAD_LIMIT_S:
        figures = {"upload_s": plan.user.upload_s, "limit_s": UPLOAD_LIMIT_S}
        found.append(Finding("upload_slow", figures))
    if plan.capacity.rtf >= 1:
        found.append(Finding("slower_than_speech", {"rtf": plan.capacity.rtf}))
    for side, mbit, mean in (
        ("down", needs.link_down_mbit, plan.together.mean_link_down_mbit),
        ("up", needs.link_up_mbit, plan.together.mean_link_up_mbit),
    ):
        if mbit < tier.link_mbit:
            figures = {"mbit": mbit, "asked_mbit": tier.link_mbit}
            found.append(Finding(f"link_{side}_thin", {**figures, "tier": tier.name}))
        if mean > LINE_FULL * mbit:
            found.append(Finding(f"link_{side}_full", {"mean_mbit": mean, "mbit": mbit}))
    if plan.disk.kept_bytes > plan.disk.quota_bytes:
        found.append(
            Finding(
                "quota",
                {
                    "kept_bytes": plan.disk.kept_bytes,
                    "quota_bytes": plan.disk.quota_bytes,
                    "days": plan.disk.quota_bytes / plan.disk.day_bytes,
                },
            )
        )
    return found


def _notes(plan: Plan) -> list[Finding]:
    needs = plan.needs
    found = []
    if needs.rtf is None:
        found.append(Finding("rtf_assumed", {"alone": RTF_ALONE, "rtf": plan.capacity.rtf}))
    if needs.codec.startswith("wav"):
        seconds = plan.user.upload_by_codec_s
        figures = {"wav_s": seconds[needs.codec], "flac_s": seconds["flac"]}
        found.append(Finding("compact", {**figures, "opus_s": seconds["opus"]}))
    if plan.queue.holds and plan.queue.gpus_enough < needs.gpus:
        found.append(Finding("fewer_gpus", {"gpus": plan.queue.gpus_enough}))
    if plan.queue.all_at_once_refused:
        found.append(Finding("burst_refused", {"refused": plan.queue.all_at_once_refused}))
    return found
