"""Waiting for a GPU: the M/M/c queue.

Jobs arrive independently (Poisson), each holds one of `servers` places for an exponential time, and
those that find none free wait in order. Speech jobs vary less than exponentially, so real waits are
shorter than these; jobs of equal length wait about half as long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


def erlang_b(servers: int, load: float) -> float:
    """Share of jobs turned away when none may wait (Erlang's loss formula, 1917).

    By the recursion B(0) = 1, B(k) = load B(k-1) / (k + load B(k-1)), which needs no factorials:
    Gross, Shortle, Thompson, Harris, Fundamentals of Queueing Theory, 4th ed., chapter 2.

    Args:
        servers: places, 0 or more.
        load: offered load in erlangs: arrivals per second times seconds of service.
    """
    blocked = 1.0
    for server in range(1, servers + 1):
        blocked = load * blocked / (server + load * blocked)
    return blocked


def erlang_c(servers: int, load: float) -> float:
    """Probability that a job must wait (Erlang's delay formula); 1 when load >= servers.

        C = (load^c / c!) / ((1 - rho) sum_{k<c} load^k / k! + load^c / c!),  rho = load / c

    (the same book, M/M/c; A. K. Erlang, 1917), worked out from the loss formula:
    C = B / (1 - rho (1 - B)).
    """
    if load >= servers:
        return 1.0
    blocked = erlang_b(servers, load)
    return blocked / (1 - load / servers * (1 - blocked))


@dataclass(frozen=True)
class Waiting:
    """What a job meets in a queue that holds: load < servers."""

    servers: int
    load: float
    service_s: float
    probability: float
    """That it has to wait at all."""

    @property
    def mean_s(self) -> float:
        """Mean wait over all jobs: W_q = C service_s / (c - load)."""
        return self.probability * self.service_s / (self.servers - self.load)

    def longer_than(self, seconds: float) -> float:
        """Share of jobs that wait longer: P(W > t) = C exp(-(c - load) t / service_s)."""
        return self.probability * math.exp(-(self.servers - self.load) * seconds / self.service_s)

    def quantile_s(self, share: float) -> float:
        """The wait that `share` of the jobs do not exceed: `longer_than` solved for seconds."""
        over = 1 - share
        if self.probability <= over:
            return 0.0
        spare = self.servers - self.load
        return math.log(self.probability / over) * self.service_s / spare

    def finds_waiting(self, jobs: int) -> float:
        """Share of jobs that find at least `jobs` waiting: P(N >= c + k) = C rho^k.

        A queue of limited length is a little shorter than this endless one, so as the share that is
        refused it errs on the safe side.
        """
        return self.probability * float((self.load / self.servers) ** jobs)


def waiting(servers: int, load: float, service_s: float) -> Waiting | None:
    """The waits at this load, or None when load >= servers: then they grow without end."""
    if load >= servers:
        return None
    return Waiting(servers, load, service_s, erlang_c(servers, load))


def servers_for(load: float, service_s: float, step: int, share: float, within_s: float) -> int:
    """The smallest multiple of `step` servers where `share` of the jobs wait at most `within_s`."""
    servers, blocked = 0, 1.0
    while True:
        for _ in range(step):
            servers += 1
            blocked = load * blocked / (servers + load * blocked)
        if load < servers:
            probability = blocked / (1 - load / servers * (1 - blocked))
            if Waiting(servers, load, service_s, probability).quantile_s(share) <= within_s:
                return servers
