"""The Redis stream that brings a job's audio from its worker to whoever listens."""

from __future__ import annotations

import time

import redis

from cosyhost.jobs import keys, scripts

STREAM_RUNNING_TTL_S = 120
STREAM_ENDED_TTL_S = 30

# An engine quicker than this does not wait for each answer; the next chunk takes it.
_QUICK_S = 0.05


class AudioWriter:
    """The worker's end of a job's audio stream: one entry per chunk, as `scripts.WRITE` has it.

    A context manager; leaving it waits until Redis has what was written. Any method may raise
    `redis.RedisError`.
    """

    def __init__(self, client: redis.Redis, job_id: str, attempt: int, sample_rate: int) -> None:
        self._redis = client
        self._pool = client.connection_pool
        self._keys = (keys.job(job_id), keys.audio(job_id), keys.SPOKEN)
        self._attempt = attempt
        self._sample_rate = sample_rate
        self._bytes = 0
        self._unanswered = False
        self._wanted = True
        self._written = time.monotonic()

    def __enter__(self) -> AudioWriter:
        self._connection = self._pool.get_connection()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._settle()
        except BaseException:  # a time limit too may leave an answer half read
            self._connection.disconnect()  # type: ignore[no-untyped-call]
            raise
        finally:
            self._pool.release(self._connection)

    def write(self, pcm: bytes) -> bool:
        """Send 16-bit mono PCM on; False once the job is no longer this attempt's: stop then.

        Nothing is sent for no bytes: that only asks.
        """
        if not pcm:
            return self.wanted()
        self._settle()
        rate = 0 if self._bytes else self._sample_rate
        self._bytes += len(pcm)
        per_s = 2 * self._sample_rate
        self._connection.send_command(  # type: ignore[no-untyped-call]
            *("EVAL", scripts.WRITE, 3, *self._keys),
            *(
                self._attempt,
                pcm,
                self._bytes / per_s,
                STREAM_RUNNING_TTL_S,
                rate,
                len(pcm) / per_s,
            ),
        )
        self._unanswered = True
        before, self._written = self._written, time.monotonic()
        if self._written - before > _QUICK_S:
            self._settle()
        return self._wanted

    def wanted(self) -> bool:
        """Whether the job is still to be spoken; asked while there is nothing to write."""
        return self._wanted and self._redis.hget(self._keys[0], "state") == b"running"

    def _settle(self) -> None:
        """Take the answer to the chunk before."""
        if self._unanswered:
            self._wanted = self._connection.read_response() == 1
            self._unanswered = False
