"""The ledger: the state of every job, in Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec
import redis

from cosyhost.errors import (
    JOB_FAILED_REPEATEDLY,
    JOB_UNKNOWN,
    KINDS,
    QUEUE_FULL,
    QUEUE_UNAVAILABLE,
    Problem,
)
from cosyhost.jobs import keys, scripts
from cosyhost.jobs.job import Ended, Job, JobEnd, State, Status
from cosyhost.jobs.stream import STREAM_ENDED_TTL_S

MAX_ATTEMPTS = 3
# A lease outlives two missed heartbeats.
HEARTBEAT_S = 5
LEASE_S = 15
# How many of a user's jobs are listed.
HISTORY = 50
# Who records ends and falls silent leaves it to another process after that.
_RECORDING_S = 60


class Ledger:
    """The state of every job. Each change is one script, so it happens whole or not at all.

    Any method may raise QUEUE_UNAVAILABLE as a `Problem` when Redis cannot be reached.
    """

    def __init__(self, client: redis.Redis, *, waiting_limit: int, keep_s: int) -> None:
        self._redis = client
        self.waiting_limit = waiting_limit
        self._keep_s = keep_s
        self._scripts = {script: client.register_script(script) for script in scripts.ALL}

    def _run(self, script: str, keys: list[str], args: list[Any]) -> Any:
        try:
            return self._scripts[script](keys=keys, args=args)
        except redis.RedisError as error:
            raise Problem(QUEUE_UNAVAILABLE, retry_after_s=5) from error

    def submit(self, job: Job) -> int:
        """Enter the job; returns how many wait before it.

        Raises:
            Problem: QUEUE_FULL.
        """
        ahead = self._run(
            scripts.SUBMIT,
            [keys.job(job.id), keys.WAITING, keys.history(job.user)],
            [
                job.id,
                msgspec.json.encode(job),
                self.waiting_limit,
                job.mode,
                self._keep_s,
                job.title,
                job.upload_s,
                job.upload_bytes,
                job.user,
                HISTORY,
            ],
        )
        if ahead < 0:
            raise Problem(QUEUE_FULL, waiting=self.waiting_limit, retry_after_s=self._wait_s())
        return int(ahead)

    def _wait_s(self) -> int:
        """When a place in the queue will be free, as a guess from the jobs that ended last."""
        return max(1, round(self.mean_job_s()))

    def forget(self, job_id: str, user: str) -> None:
        """Remove all that is known of the job, from its user's history too.

        A worker that still speaks it stops at its next chunk.
        """
        places = [keys.WAITING, keys.LEASES, keys.DEAD, keys.history(user)]
        self._run(scripts.FORGET, [keys.job(job_id), keys.audio(job_id), *places], [job_id])

    def claim(self, job_id: str, owner: str, **fields: Any) -> tuple[Job, int] | str:
        """Lease the job to `owner`: the job and its attempt (1 for the first), or why not.

        The `fields` say of the owner what the job's status shows: `engine`, `preview` (0 or 1).
        The reason is the state it is in, `unknown`, or `running:<owner>` while leased elsewhere.
        """
        answer = self._run(
            scripts.CLAIM,
            [
                *(keys.job(job_id), keys.WAITING, keys.LEASES, keys.DEAD, keys.audio(job_id)),
                *(keys.ENDED, keys.UNRECORDED),
            ],
            [
                job_id,
                owner,
                LEASE_S,
                MAX_ATTEMPTS,
                JOB_FAILED_REPEATEDLY.code,
                STREAM_ENDED_TTL_S,
                *(part for pair in fields.items() for part in pair),
            ],
        )
        verdict = answer[0].decode()
        if verdict == "claimed":
            return msgspec.json.decode(answer[1], type=Job), int(answer[2])
        return f"running:{answer[1].decode()}" if verdict == "running" else str(verdict)

    def spec(self, job_id: str) -> Job | None:
        """What is to be spoken; None once the job has ended."""
        try:
            raw = cast("bytes | None", self._redis.hget(keys.job(job_id), "spec"))
        except redis.RedisError as error:
            raise Problem(QUEUE_UNAVAILABLE, retry_after_s=5) from error
        return None if raw is None else msgspec.json.decode(raw, type=Job)

    def release(self, job_id: str, owner: str) -> bool:
        """Give back the lease of an `owner` that is gone."""
        return bool(
            self._run(
                scripts.RELEASE, [keys.job(job_id), keys.WAITING, keys.LEASES], [job_id, owner]
            )
        )

    def renew(self, job_id: str, owner: str) -> bool:
        """Prolong the lease; False when the job is no longer this owner's."""
        return bool(
            self._run(scripts.RENEW, [keys.job(job_id), keys.LEASES], [job_id, owner, LEASE_S])
        )

    def finish(self, job_id: str, owner: str, state: State, **fields: Any) -> bool:
        """End the job; False when it had ended already or is not this owner's."""
        flat = [part for pair in fields.items() for part in pair]
        return bool(
            self._run(
                scripts.FINISH,
                [
                    *(keys.job(job_id), keys.WAITING, keys.LEASES, keys.audio(job_id)),
                    *(keys.ENDED, keys.UNRECORDED),
                ],
                [job_id, owner, state, self._keep_s, STREAM_ENDED_TTL_S, *flat],
            )
        )

    def fail(self, job_id: str, owner: str, problem: Problem) -> bool:
        """End the job with the problem its client will be shown."""
        figures = msgspec.json.encode(problem.figures)
        return self.finish(job_id, owner, "failed", code=problem.kind.code, figures=figures)

    def cancel(self, job_id: str) -> bool:
        """End the job by its user's wish; the worker hears of it at its next chunk."""
        return self.finish(job_id, "", "cancelled")

    def status(self, job_id: str) -> Status:
        """The job's state.

        Raises:
            Problem: JOB_UNKNOWN.
        """
        try:
            pipe = self._redis.pipeline(transaction=False)
            pipe.hgetall(keys.job(job_id))
            pipe.zrank(keys.WAITING, job_id)
            raw, rank = pipe.execute()
        except redis.RedisError as error:
            raise Problem(QUEUE_UNAVAILABLE, retry_after_s=5) from error
        if not raw:
            raise Problem(JOB_UNKNOWN, job=job_id[:64])
        fields = {key.decode(): value.decode() for key, value in raw.items()}

        def seconds(name: str) -> float | None:
            return float(fields[name]) if name in fields else None

        problem = None
        if "code" in fields:
            problem = Problem(KINDS[fields["code"]], **msgspec.json.decode(fields["figures"]))
        return Status(
            id=job_id,
            state=cast(State, fields["state"]),
            mode=fields["mode"],
            engine=fields.get("engine", ""),
            preview=fields.get("preview") == "1",
            attempts=int(fields["attempts"]),
            created=float(fields["created"]),
            started=seconds("started"),
            finished=seconds("finished"),
            first_audio=seconds("first_audio"),
            spoken_s=seconds("spoken_s"),
            audio_s=seconds("audio_s"),
            encode_s=seconds("encode_s"),
            upload_s=seconds("upload_s") or 0.0,
            upload_bytes=int(fields.get("upload_bytes", 0)),
            title=fields.get("title", ""),
            user=fields.get("user", ""),
            position=None if rank is None else int(rank) + 1,
            problem=problem,
        )

    def history(self, user: str) -> list[Status]:
        """The user's last jobs, newest first."""
        try:
            ids = cast("list[bytes]", self._redis.zrevrange(keys.history(user), 0, HISTORY - 1))
        except redis.RedisError as error:
            raise Problem(QUEUE_UNAVAILABLE, retry_after_s=5) from error
        found = []
        for job_id in ids:
            try:
                found.append(self.status(job_id.decode()))
            except Problem as problem:
                if problem.kind is not JOB_UNKNOWN:
                    raise
        return found

    # Counting

    def now(self) -> float:
        """Unix seconds by the clock of Redis, the one clock all hosts share."""
        return keys.clock(self._redis)

    def depth(self) -> tuple[int, int]:
        """How many jobs wait, and how many run."""
        try:
            pipe = self._redis.pipeline(transaction=False)
            pipe.zcard(keys.WAITING)
            pipe.zcard(keys.LEASES)
            waiting, running = pipe.execute()
        except redis.RedisError as error:
            raise Problem(QUEUE_UNAVAILABLE, retry_after_s=5) from error
        return int(waiting), int(running)

    def oldest_wait_s(self) -> float:
        """How long the job that waits longest has waited, in seconds; 0 when none waits."""
        try:
            pipe = self._redis.pipeline(transaction=False)
            pipe.zrange(keys.WAITING, 0, 0, withscores=True)
            pipe.time()
            first, (seconds, microseconds) = pipe.execute()
        except redis.RedisError as error:
            raise Problem(QUEUE_UNAVAILABLE, retry_after_s=5) from error
        return max(0.0, seconds + microseconds / 1e6 - first[0][1]) if first else 0.0

    def take_ended(self) -> tuple[list[Ended], dict[str, float]]:
        """What nobody has counted yet: jobs that ended, and seconds of speech by engine.

        Each is given once, to one caller of all processes. The seconds grow while jobs run.
        """
        ended, spoken = self._run(scripts.TAKE, [keys.ENDED, keys.SPOKEN], [])
        jobs = [msgspec.json.decode(raw, type=Ended, strict=False) for raw in ended]
        return jobs, {
            engine.decode(): float(seconds)
            for engine, seconds in zip(spoken[::2], spoken[1::2], strict=True)
        }

    def record_ends(self, record: Callable[[JobEnd], None]) -> int:
        """Give each job that ended and that nobody recorded yet to `record`; returns how many.

        One process does it at a time. An end is forgotten once `record` has returned: who dies
        before that leaves it to the next, which may record it once more; none is lost.
        """
        try:
            if not self._redis.set(keys.RECORDING, "1", nx=True, ex=_RECORDING_S):
                return 0
            count = 0
            try:
                while raws := cast("list[bytes]", self._redis.lrange(keys.UNRECORDED, 0, 99)):
                    for raw in raws:
                        record(msgspec.json.decode(raw, type=JobEnd, strict=False))
                        self._redis.lrem(keys.UNRECORDED, 1, raw.decode())
                    count += len(raws)
            finally:
                self._redis.delete(keys.RECORDING)
        except redis.RedisError as error:
            raise Problem(QUEUE_UNAVAILABLE, retry_after_s=5) from error
        return count

    def beat(self, owner: str) -> None:
        """A worker child says that it is there."""
        self._redis.zadd(keys.WORKERS, {owner: self.now() + LEASE_S})

    def leave(self, owner: str) -> None:
        """A worker child says good-bye."""
        self._redis.zrem(keys.WORKERS, owner)

    def workers(self) -> int:
        """How many worker children are there."""
        try:
            self._redis.zremrangebyscore(keys.WORKERS, 0, self.now())
            return self._redis.zcard(keys.WORKERS)
        except redis.RedisError as error:
            raise Problem(QUEUE_UNAVAILABLE, retry_after_s=5) from error

    def note_duration(self, seconds: float) -> None:
        """Feed the running mean of job durations (the newest weighs a fifth)."""
        mean = self.mean_job_s()
        self._redis.set(keys.MEAN_S, mean * 0.8 + seconds * 0.2 if mean else seconds)

    def mean_job_s(self) -> float:
        """The running mean of job durations in seconds; 0 before the first."""
        try:
            return float(cast(bytes, self._redis.get(keys.MEAN_S)) or 0)
        except redis.RedisError:
            return 0.0
