"""Jobs: the ledger in Redis, the Celery app that carries their ids, the stream that brings audio.

The ledger is the truth; a Celery message only says "look at job X". So a message delivered twice
does no work twice, and a job whose message was lost is published again.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

import msgspec
import redis
from celery import Celery
from kombu.exceptions import OperationalError

from cosyhost.config import Config
from cosyhost.errors import (
    JOB_FAILED_REPEATEDLY,
    JOB_UNKNOWN,
    KINDS,
    QUEUE_FULL,
    QUEUE_UNAVAILABLE,
    Problem,
)

Mode = Literal["zero_shot", "cross_lingual", "instruct"]
State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: frozenset[str] = frozenset({"done", "failed", "cancelled"})

TASK = "cosyhost.speak"
QUEUE = "speech"
MAX_ATTEMPTS = 3
# A lease outlives two missed heartbeats.
HEARTBEAT_S = 5
LEASE_S = 15
# How long a queued job may be unseen in the broker before it counts as lost; a publish takes ms.
UNSEEN_S = 5
TITLE_CHARS = 40
# How many of a user's jobs are listed.
HISTORY = 50
STREAM_RUNNING_TTL_S = 120
STREAM_ENDED_TTL_S = 30


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be spoken. `prompt` is the SHA-256 of a stored prompt audio."""

    id: str
    mode: Mode
    text: str
    prompt: str
    prompt_text: str = ""
    instruction: str = ""
    speed: float = 1.0
    seed: int = 0
    user: str = ""
    upload_s: float = 0.0
    upload_bytes: int = 0

    @property
    def title(self) -> str:
        """How a list of jobs calls it."""
        return self.text[:TITLE_CHARS]


@dataclass(frozen=True)
class Status:
    """What the ledger knows of a job; times are Unix seconds by the clock of Redis."""

    id: str
    state: State
    mode: str
    engine: str
    preview: bool
    attempts: int
    created: float
    started: float | None
    finished: float | None
    first_audio: float | None
    spoken_s: float | None
    audio_s: float | None
    encode_s: float | None
    upload_s: float
    upload_bytes: int
    title: str
    position: int | None
    problem: Problem | None


def new_job_id() -> str:
    """An id nobody can guess (122 random bits)."""
    return uuid.uuid4().hex


def output_key(job_id: str) -> str:
    """Where the store keeps what a job said."""
    return f"outputs/{job_id}.wav"


# All keys of one deployment; the ledger is one Redis database.
_WAITING, _LEASES, _WORKERS, _DEAD = "jobs:waiting", "jobs:leases", "jobs:workers", "jobs:dead"


def _key(job_id: str) -> str:
    return f"job:{job_id}"


def _history(user: str) -> str:
    return f"jobs:of:{user}"


def audio_stream_key(job_id: str) -> str:
    """The Redis stream that brings the audio of a job."""
    return f"job:{job_id}:audio"


_NOW = """
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1000000
"""

_SUBMIT = (
    _NOW
    + """
local job, waiting = KEYS[1], KEYS[2]
local n = redis.call('ZCARD', waiting)
if n >= tonumber(ARGV[3]) then return -1 end
redis.call('HSET', job, 'state', 'queued', 'mode', ARGV[4], 'spec', ARGV[2],
           'attempts', 0, 'created', now, 'title', ARGV[6],
           'upload_s', ARGV[7], 'upload_bytes', ARGV[8])
redis.call('EXPIRE', job, ARGV[5])
redis.call('ZADD', waiting, now, ARGV[1])
if ARGV[9] ~= '' then
  redis.call('ZADD', KEYS[3], now, ARGV[1])
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[10]))
  redis.call('EXPIRE', KEYS[3], ARGV[5])
end
return n
"""
)

# Returns the job's spec and the attempt, or the state that forbids it (with its owner if leased).
_CLAIM = (
    _NOW
    + """
local job, waiting, leases, dead, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, owner, lease, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local state = redis.call('HGET', job, 'state')
if not state then return {'unknown', ''} end
if state == 'running' then
  local until_ = tonumber(redis.call('ZSCORE', leases, id) or 0)
  if until_ > now then return {'running', redis.call('HGET', job, 'owner')} end
elseif state ~= 'queued' then return {state, ''} end
local attempts = tonumber(redis.call('HGET', job, 'attempts'))
redis.call('ZREM', waiting, id)
if attempts >= most then
  redis.call('HSET', job, 'state', 'failed', 'finished', now, 'code', ARGV[5],
             'figures', cjson.encode({attempts = attempts}))
  redis.call('ZREM', leases, id)
  redis.call('ZADD', dead, now, id)
  redis.call('XADD', stream, '*', 'end', 'failed')
  redis.call('EXPIRE', stream, ARGV[6])
  return {'failed', ''}
end
redis.call('HSET', job, 'state', 'running', 'owner', owner, 'attempts', attempts + 1,
           'started', now)
redis.call('ZADD', leases, now + tonumber(lease), id)
return {'claimed', redis.call('HGET', job, 'spec'), attempts + 1}
"""
)

# Back to the queue, unless somebody else has it by now.
_RELEASE = (
    _NOW
    + """
local job, waiting, leases = KEYS[1], KEYS[2], KEYS[3]
if redis.call('HGET', job, 'state') ~= 'running' then return 0 end
if redis.call('HGET', job, 'owner') ~= ARGV[2] then return 0 end
redis.call('ZREM', leases, ARGV[1])
redis.call('HSET', job, 'state', 'queued')
redis.call('ZADD', waiting, redis.call('HGET', job, 'created'), ARGV[1])
return 1
"""
)

_RENEW = (
    _NOW
    + """
if redis.call('HGET', KEYS[1], 'state') ~= 'running' then return 0 end
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[2] then return 0 end
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[3]), ARGV[1])
return 1
"""
)

# The first end wins: a job cancelled or finished elsewhere keeps its state. The text goes with it.
_FINISH = (
    _NOW
    + """
local job, waiting, leases, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local state = redis.call('HGET', job, 'state')
if state ~= 'running' and state ~= 'queued' then return 0 end
if ARGV[2] ~= '' and redis.call('HGET', job, 'owner') ~= ARGV[2] then return 0 end
redis.call('ZREM', waiting, ARGV[1])
redis.call('ZREM', leases, ARGV[1])
redis.call('HSET', job, 'state', ARGV[3], 'finished', now)
for i = 6, #ARGV, 2 do redis.call('HSET', job, ARGV[i], ARGV[i + 1]) end
redis.call('HDEL', job, 'spec')
redis.call('EXPIRE', job, ARGV[4])
redis.call('XADD', stream, '*', 'end', ARGV[3])
redis.call('EXPIRE', stream, ARGV[5])
return 1
"""
)


class Ledger:
    """The state of every job. Each change is one script, so it happens whole or not at all.

    Any method may raise QUEUE_UNAVAILABLE as a `Problem` when Redis cannot be reached.
    """

    def __init__(self, client: redis.Redis, *, waiting_limit: int, keep_s: int) -> None:
        self._redis = client
        self._waiting_limit = waiting_limit
        self._keep_s = keep_s
        self._scripts = {
            script: client.register_script(script)
            for script in (_SUBMIT, _CLAIM, _RELEASE, _RENEW, _FINISH)
        }

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
            _SUBMIT,
            [_key(job.id), _WAITING, _history(job.user)],
            [
                job.id,
                msgspec.json.encode(job),
                self._waiting_limit,
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
            raise Problem(QUEUE_FULL, waiting=self._waiting_limit, retry_after_s=self._wait_s())
        return int(ahead)

    def _wait_s(self) -> int:
        """When a place in the queue will be free, as a guess from the jobs that ended last."""
        return max(1, round(self.mean_job_s()))

    def forget(self, job_id: str) -> None:
        """Take back a job that could not be published; the client was told so."""
        try:
            pipe = self._redis.pipeline()
            pipe.zrem(_WAITING, job_id)
            pipe.delete(_key(job_id))
            pipe.execute()
        except redis.RedisError:
            return  # it will be published again by `lost`, or expire

    def claim(self, job_id: str, owner: str) -> tuple[Job, int] | str:
        """Lease the job to `owner`: the job and its attempt (1 for the first), or why not.

        The reason is the state it is in, `unknown`, or `running:<owner>` while leased elsewhere.
        """
        answer = self._run(
            _CLAIM,
            [_key(job_id), _WAITING, _LEASES, _DEAD, audio_stream_key(job_id)],
            [
                job_id,
                owner,
                LEASE_S,
                MAX_ATTEMPTS,
                JOB_FAILED_REPEATEDLY.code,
                STREAM_ENDED_TTL_S,
            ],
        )
        verdict = answer[0].decode()
        if verdict == "claimed":
            return msgspec.json.decode(answer[1], type=Job), int(answer[2])
        return f"running:{answer[1].decode()}" if verdict == "running" else str(verdict)

    def release(self, job_id: str, owner: str) -> bool:
        """Give back the lease of an `owner` that is gone."""
        return bool(self._run(_RELEASE, [_key(job_id), _WAITING, _LEASES], [job_id, owner]))

    def renew(self, job_id: str, owner: str) -> bool:
        """Prolong the lease; False when the job is no longer this owner's."""
        return bool(self._run(_RENEW, [_key(job_id), _LEASES], [job_id, owner, LEASE_S]))

    def finish(self, job_id: str, owner: str, state: State, **fields: Any) -> bool:
        """End the job; False when it had ended already or is not this owner's."""
        flat = [part for pair in fields.items() for part in pair]
        return bool(
            self._run(
                _FINISH,
                [_key(job_id), _WAITING, _LEASES, audio_stream_key(job_id)],
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
            pipe.hgetall(_key(job_id))
            pipe.zrank(_WAITING, job_id)
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
            position=None if rank is None else int(rank) + 1,
            problem=problem,
        )

    def history(self, user: str) -> list[Status]:
        """The user's last jobs, newest first."""
        try:
            ids = cast("list[bytes]", self._redis.zrevrange(_history(user), 0, HISTORY - 1))
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
        return _clock(self._redis)

    def depth(self) -> tuple[int, int]:
        """How many jobs wait, and how many run."""
        try:
            pipe = self._redis.pipeline(transaction=False)
            pipe.zcard(_WAITING)
            pipe.zcard(_LEASES)
            waiting, running = pipe.execute()
        except redis.RedisError as error:
            raise Problem(QUEUE_UNAVAILABLE, retry_after_s=5) from error
        return int(waiting), int(running)

    def beat(self, owner: str) -> None:
        """A worker child says that it is there."""
        self._redis.zadd(_WORKERS, {owner: self.now() + LEASE_S})

    def leave(self, owner: str) -> None:
        """A worker child says good-bye."""
        self._redis.zrem(_WORKERS, owner)

    def workers(self) -> int:
        """How many worker children are there."""
        try:
            self._redis.zremrangebyscore(_WORKERS, 0, self.now())
            return self._redis.zcard(_WORKERS)
        except redis.RedisError as error:
            raise Problem(QUEUE_UNAVAILABLE, retry_after_s=5) from error

    def note_duration(self, seconds: float) -> None:
        """Feed the running mean of job durations (the newest weighs a fifth)."""
        mean = self.mean_job_s()
        self._redis.set("jobs:mean_s", mean * 0.8 + seconds * 0.2 if mean else seconds)

    def mean_job_s(self) -> float:
        """The running mean of job durations in seconds; 0 before the first."""
        try:
            return float(cast(bytes, self._redis.get("jobs:mean_s")) or 0)
        except redis.RedisError:
            return 0.0

    # Healing

    def expired_leases(self) -> Iterator[tuple[str, str]]:
        """Jobs whose worker fell silent, with that worker's name."""
        gone = cast(list[bytes], self._redis.zrangebyscore(_LEASES, 0, self.now()))
        for job_id in (raw.decode() for raw in gone):
            owner = cast(bytes, self._redis.hget(_key(job_id), "owner"))
            if owner is None:  # the ledger forgot the job; so must the lease
                self._redis.zrem(_LEASES, job_id)
            else:
                yield job_id, owner.decode()

    def unseen(self) -> list[str]:
        """Queued jobs that have no message in the broker: neither queued nor delivered."""
        waiting = self._redis.zrangebyscore(_WAITING, 0, self.now() - UNSEEN_S)
        old = {raw.decode() for raw in cast(list[bytes], waiting)}
        if not old:
            return []
        messages = cast(list[bytes], self._redis.lrange(QUEUE, 0, -1))
        seen = {msgspec.json.decode(raw)["headers"]["id"] for raw in messages}
        for raw in cast(list[bytes], self._redis.hvals("unacked")):
            seen.add(msgspec.json.decode(raw)[0]["headers"]["id"])
        return sorted(old - seen)

    def heal(self, broker: Broker) -> int:
        """Publish again what was lost; returns how many. One host at a time does it."""
        if not self._redis.set("jobs:healing", "1", nx=True, ex=UNSEEN_S):
            return 0
        lost = [job_id for job_id, owner in self.expired_leases() if self.release(job_id, owner)]
        lost += [job_id for job_id in self.unseen() if job_id not in lost]
        for job_id in lost:
            broker.publish(job_id)
        return len(lost)


class Broker:
    """The Celery app, with the settings that lost nothing when things were killed."""

    def __init__(self, config: Config, password: str | None) -> None:
        limit_s = config.jobs.time_limit_s
        transport = {
            "visibility_timeout": limit_s + 60,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "socket_timeout": 5,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
            "health_check_interval": 5,
        }
        self.app = Celery("cosyhost", broker=_with_password(config.redis.url, password))
        self.app.conf.update(
            task_default_queue=QUEUE,
            task_ignore_result=True,
            task_acks_late=True,
            task_reject_on_worker_lost=True,
            worker_prefetch_multiplier=1,
            task_time_limit=limit_s,
            task_soft_time_limit=limit_s - 10,
            # A child that loads its model for longer than the default 4 s is killed in a loop.
            worker_proc_alive_timeout=300,
            broker_connection_retry_on_startup=True,
            broker_connection_max_retries=None,
            broker_transport_options=transport,
            worker_hijack_root_logger=False,
            worker_send_task_events=False,
        )

    def publish(self, job_id: str) -> None:
        """Tell a worker to look at the job.

        Raises:
            Problem: QUEUE_UNAVAILABLE.
        """
        try:
            self.app.send_task(TASK, args=[job_id], task_id=job_id, retry=False)
        except (OperationalError, redis.RedisError) as error:
            raise Problem(QUEUE_UNAVAILABLE, retry_after_s=5) from error

    def reach(self) -> None:
        """Connect as a worker does, transport and password included.

        Raises:
            Problem: QUEUE_UNAVAILABLE.
        """
        try:
            with self.app.connection_for_read() as connection:
                connection.ensure_connection(max_retries=1, timeout=5)
        except (OperationalError, redis.RedisError) as error:
            raise Problem(QUEUE_UNAVAILABLE, retry_after_s=5) from error


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
        pipe.hset(_key(self._job_id), mapping=fields)
        pipe.xadd(audio_stream_key(self._job_id), cast(Any, head))
        pipe.expire(audio_stream_key(self._job_id), STREAM_RUNNING_TTL_S)
        pipe.execute()

    def write(self, pcm: bytes) -> bool:
        """Send 16-bit PCM on; False when the job is no longer running: stop then."""
        first = self._bytes == 0
        self._bytes += len(pcm)
        spoken_s = self._bytes / 2 / self._sample_rate
        pipe = self._redis.pipeline(transaction=False)
        pipe.hget(_key(self._job_id), "state")
        pipe.hset(_key(self._job_id), "spoken_s", str(spoken_s))
        pipe.xadd(audio_stream_key(self._job_id), {"pcm": pcm, "attempt": self._attempt})
        pipe.expire(audio_stream_key(self._job_id), STREAM_RUNNING_TTL_S)
        running = cast(bool, pipe.execute()[0] == b"running")
        if first and running:
            self._redis.hset(_key(self._job_id), "first_audio", str(_clock(self._redis)))
        return running


def _clock(client: redis.Redis) -> float:
    seconds, microseconds = client.time()
    return seconds + microseconds / 1e6


def connect(config: Config, password: str | None) -> redis.Redis:
    """A client for the ledger that gives up rather than hangs."""
    return redis.Redis.from_url(
        config.redis.url,
        password=password,
        socket_timeout=5,
        socket_connect_timeout=3,
        health_check_interval=5,
    )


def _with_password(url: str, password: str | None) -> str:
    """The broker's URL as kombu wants it; it stays inside this process."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://:{password}@{rest}" if password else url
