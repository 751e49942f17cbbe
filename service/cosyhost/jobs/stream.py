"""The Redis stream that brings a job's audio from its worker to whoever listens."""

from __future__ import annotations

from typing import Any, cast

import redis

from cosyhost.jobs import keys

STREAM_RUNNING_TTL_S = 120
STREAM_ENDED_TTL_S = 30


class AudioWriter:
    """The worker's end of a job's audio stream: one entry per chunk."""

    def __init__(self, client: redis.Redis, job_id: str, attempt: int) -> None:
        self._redis = client
        self._job_id = job_id
        self._attempt = attempt
        self._sample_rate = 0
        self._bytes = 0

    def start(self, sample_rate: int, engine: str, preview: bool) -> None:
        """Say what follows, before the first chunk."""
        self._sample_rate = sample_rate
        head = {"start": self._attempt, "rate": sample_rate}
        fields: Any = {"engine": engine, "preview": int(preview)}
        pipe = self._redis.pipeline(transaction=False)
        pipe.hset(keys.job(self._job_id), mapping=fields)
        pipe.xadd(keys.audio(self._job_id), cast(Any, head))
        pipe.expire(keys.audio(self._job_id), STREAM_RUNNING_TTL_S)
        pipe.execute()

    def write(self, pcm: bytes) -> bool:
        """Send 16-bit PCM on; False when the job is no longer running: stop then.

        Nothing is sent for no bytes: that only asks.
        """
        if not pcm:
            return self._redis.hget(keys.job(self._job_id), "state") == b"running"
        first = self._bytes == 0
        self._bytes += len(pcm)
        spoken_s = self._bytes / 2 / self._sample_rate
        pipe = self._redis.pipeline(transaction=False)
        pipe.hget(keys.job(self._job_id), "state")
        pipe.hset(keys.job(self._job_id), "spoken_s", str(spoken_s))
        pipe.xadd(keys.audio(self._job_id), {"pcm": pcm, "attempt": self._attempt})
        pipe.expire(keys.audio(self._job_id), STREAM_RUNNING_TTL_S)
        running = cast(bool, pipe.execute()[0] == b"running")
        if first and running:
            self._redis.hset(keys.job(self._job_id), "first_audio", str(keys.clock(self._redis)))
        return running
