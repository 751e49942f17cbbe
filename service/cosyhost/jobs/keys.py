"""The names of the ledger's keys in Redis, and its clock."""

from __future__ import annotations

import redis

# All keys of one deployment; the ledger is one Redis database.
WAITING = "jobs:waiting"
LEASES = "jobs:leases"
WORKERS = "jobs:workers"
DEAD = "jobs:dead"
HEALING = "jobs:healing"
MEAN_S = "jobs:mean_s"
UNITS = "jobs:units"
# What nobody has counted yet: jobs that ended, and seconds of speech by engine.
ENDED = "jobs:ended"
SPOKEN = "jobs:spoken"
# Jobs that ended and are not in the trail yet, and who brings them there now.
UNRECORDED = "jobs:unrecorded"
RECORDING = "jobs:recording"


def job(job_id: str) -> str:
    """The hash that holds what is known of a job."""
    return f"job:{job_id}"


def history(user: str) -> str:
    """A user's jobs by time."""
    return f"jobs:of:{user}"


def audio(job_id: str) -> str:
    """The Redis stream that brings the audio of a job."""
    return f"job:{job_id}:audio"


def unit(name: str) -> str:
    """What a worker unit says of itself."""
    return f"jobs:unit:{name}"


def clock(client: redis.Redis) -> float:
    """Unix seconds by the clock of Redis, the one clock all hosts share."""
    seconds, microseconds = client.time()
    return seconds + microseconds / 1e6
