"""Waiting in line: the M/M/c queue.

Jobs come at random (Poisson, rate `arrivals_s`), `servers` of them run at once, each for
`service_s` seconds on average (exponential), the rest wait in order. A synthesis varies less than
that, so real waits are rather shorter.

Formulas: L. Kleinrock, Queueing Systems, volume 1 (1975), section 3.4; Erlang's C formula of 1917
there (3.40), and its recursion by way of Erlang B as in R. B. Cooper, Introduction to Queueing
Theory, 2nd edition (1981), section 3.5.
"""

from __future__ import annotations

import math


def waits(servers: int, load: float) -> float:
    """Erlang C: the share of jobs that have to wait.

    With B(0) = 1 and B(k) = a B(k-1) / (k + a B(k-1)), C = B(c) / (1 - (a/c) (1 - B(c))).

    Args:
        servers: c, at least 1.
        load: a, arrivals times service time; below c.

    Raises:
        ValueError: at a load of c or more the queue grows without end.
    """
    if not 0 <= load < servers:
        raise ValueError("the queue grows without end")
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = load * blocked / (k + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def mean_wait_s(servers: int, arrivals_s: float, service_s: float) -> float:
    """Seconds a job waits on average: C / (c/S - rate); infinite where the queue never ends."""
    load = arrivals_s * service_s
    if load >= servers:
        return math.inf
    return waits(servers, load) / (servers / service_s - arrivals_s)


def wait_within_s(servers: int, arrivals_s: float, service_s: float, share: float) -> float:
    """Seconds in which `share` of all jobs have begun: P(W > t) = C exp(-(c/S - rate) t)."""
    load = arrivals_s * service_s
    if load >= servers:
        return math.inf
    waiting, late = waits(servers, load), 1 - share
    if waiting <= late:
        return 0.0
    return math.log(waiting / late) / (servers / service_s - arrivals_s)
