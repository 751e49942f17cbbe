"""The arithmetic of a deployment; no words, no input or output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cosyhost import wire
from cosyhost.plan.queueing import mean_wait_s, wait_within_s, waits

# Nearly all jobs (this share) should begin within so long; the alert on waiting has the same.
PROMPTLY = 0.95
WAIT_S = 20.0
# A line this full on average is in nobody's way yet.
LINE_FULL = 0.7
# First load of the page, measured by `make bench BENCH=page`; and the range that the design's
# source gives for a Gradio page that nobody has made lighter.
PAGE_BYTES = 250_000
HEAVY_PAGE_BYTES = (5_000_000, 10_000_000)
# What one host takes (PCIe slots of a usual server), and how many a client's trial brings.
GPUS_OF_A_HOST = 8
DEMO_USERS = 20
DEMO_MBIT = 50
LAN_MBIT = 1000


@dataclass(frozen=True)
class Line:
    """A line of a user, Mbit/s."""

    up_mbit: float
    down_mbit: float


# The design's source: a "100M" home line uploads at 10 or less, a phone hotspot often under 1, and
# what it says of others.
LINES: dict[str, Line] = {
    "lan": Line(1000, 1000),
    "business": Line(100, 100),
    "home": Line(10, 100),
    "hotspot": Line(1, 10),
}


@dataclass(frozen=True)
class Wish:
    """What is planned for. Rates in Mbit/s; `link_*` are the service's, `up/down` a user's line.

    `rtf` is the engine's real-time factor with `jobs_per_gpu` at work: seconds of synthesis for
    each second of speech. The defaults are a client's trial; measure your own RTF.
    """

    users: int = 10
    prompt_s: float = 15
    codec: str = "flac"
    up_mbit: float = 10
    down_mbit: float = 100
    link_up_mbit: float = 50
    link_down_mbit: float = 50
    gpus: int = 1
    jobs_per_gpu: int = 2
    rtf: float = 0.5
    audio_s: float = 15
    jobs_per_user_hour: float = 12
    hours_per_day: float = 8


@dataclass(frozen=True)
class Plan:
    """What comes out. Bytes, seconds, jobs; `math.inf` where a queue grows without end."""

    wish: Wish
    prompt_bytes: int
    output_bytes: int
    upload_s: float
    download_s: float
    page_s: float
    heavy_page_s: tuple[float, float]
    # Everybody at once: all prompts, then all outputs, over the service's line.
    together_bytes: int
    together_s: float
    # What the line carries on average, as a share of it: the fuller of its directions.
    line_load: float
    at_once: int
    synthesis_s: float
    jobs_per_hour: float
    jobs_per_hour_at_most: float
    gpu_load: float
    waiting_share: float
    wait_mean_s: float
    wait_p95_s: float
    first_to_last_s: float
    users_at_most: int
    gpus_needed: int
    disk_bytes_per_day: int
    tier: str
    reasons: tuple[str, ...]

    @property
    def stable(self) -> bool:
        """Whether the queue ends."""
        return self.gpu_load < 1


def plan(wish: Wish) -> Plan:
    """Work it out; the values must be above 0 and finite, as the command sees to."""
    prompt_bytes = wire.CODECS[wish.codec].weighs(wish.prompt_s)
    output_bytes = wire.OUTPUT.weighs(wish.audio_s)
    up, down = min(wish.up_mbit, wish.link_down_mbit), min(wish.down_mbit, wish.link_up_mbit)
    all_in, all_out = prompt_bytes * wish.users, output_bytes * wish.users
    jobs_per_hour = wish.users * wish.jobs_per_user_hour
    arrivals_s = jobs_per_hour / 3600
    synthesis_s = wish.rtf * wish.audio_s
    at_once = wish.gpus * wish.jobs_per_gpu
    load = arrivals_s * synthesis_s
    queue = at_once, arrivals_s, synthesis_s
    upload_s = wire.transfer_s(prompt_bytes, up)
    download_s = wire.transfer_s(output_bytes, down)
    wait_mean_s = mean_wait_s(*queue)
    line_load = max(
        arrivals_s * wire.transfer_s(prompt_bytes, wish.link_down_mbit),
        arrivals_s * wire.transfer_s(output_bytes, wish.link_up_mbit),
    )
    gpus_needed = _least(lambda gpus: _soon(gpus * wish.jobs_per_gpu, arrivals_s, synthesis_s))
    each_s = wish.jobs_per_user_hour / 3600
    users_at_most = _most(lambda users: _soon(at_once, users * each_s, synthesis_s))
    tier, reasons = _tier(wish, gpus_needed, line_load)
    return Plan(
        wish=wish,
        prompt_bytes=prompt_bytes,
        output_bytes=output_bytes,
        upload_s=upload_s,
        download_s=download_s,
        page_s=wire.transfer_s(PAGE_BYTES, down),
        heavy_page_s=(
            wire.transfer_s(HEAVY_PAGE_BYTES[0], down),
            wire.transfer_s(HEAVY_PAGE_BYTES[1], down),
        ),
        together_bytes=all_in + all_out,
        together_s=wire.transfer_s(all_in, wish.link_down_mbit)
        + wire.transfer_s(all_out, wish.link_up_mbit),
        line_load=line_load,
        at_once=at_once,
        synthesis_s=synthesis_s,
        jobs_per_hour=jobs_per_hour,
        jobs_per_hour_at_most=3600 * at_once / synthesis_s,
        gpu_load=load / at_once,
        waiting_share=waits(at_once, load) if load < at_once else 1.0,
        wait_mean_s=wait_mean_s,
        wait_p95_s=wait_within_s(*queue, PROMPTLY),
        first_to_last_s=upload_s + wait_mean_s + synthesis_s + download_s,
        users_at_most=users_at_most,
        gpus_needed=gpus_needed,
        disk_bytes_per_day=round(jobs_per_hour * wish.hours_per_day * output_bytes),
        tier=tier,
        reasons=reasons,
    )


def _soon(servers: int, arrivals_s: float, service_s: float) -> bool:
    """Whether nearly all jobs begin soon."""
    return wait_within_s(servers, arrivals_s, service_s, PROMPTLY) <= WAIT_S


def _least(enough: Callable[[int], bool]) -> int:
    """The smallest whole number above 0 that is enough, where all above it are, too."""
    high = 1
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _most(still: Callable[[int], bool]) -> int:
    """The largest whole number that still does, where none above it does; 0 for none."""
    return _least(lambda number: not still(number)) - 1


def _tier(wish: Wish, gpus_needed: int, line_load: float) -> tuple[str, tuple[str, ...]]:
    """The tier that fits, and by which reasons (keys of the report's words)."""
    many = []
    if gpus_needed > GPUS_OF_A_HOST:
        many.append("more_gpus")
    slow_line = min(wish.link_up_mbit, wish.link_down_mbit)
    warned = ["line_full"] if line_load > LINE_FULL else []
    if wish.users == 1 and not many:
        return "local", ("one_user", *warned)
    if min(wish.up_mbit, wish.down_mbit, slow_line) >= LAN_MBIT and not many:
        return "lan", ("gigabit", *warned)
    if wish.users > DEMO_USERS:
        many.append("many_users")
    if many:
        if slow_line < DEMO_MBIT:
            warned.insert(0, "thin_line")
        return "production", (*many, *warned)
    if slow_line < DEMO_MBIT:
        warned.insert(0, "thin_line")
    return "demo", ("trial", *warned)
