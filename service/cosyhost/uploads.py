"""Unfinished uploads: chunks in any order, by content, each user's apart from all others'.

They live in Redis and not in files: every web host sees them, a chunk is stored whole or not at
all, and what is never finished goes by itself when its time is up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, cast

import msgspec
import redis

from cosyhost.audio import read_prompt
from cosyhost.errors import (
    PROMPT_EMPTY,
    PROMPT_TOO_LARGE,
    QUEUE_UNAVAILABLE,
    UPLOAD_DAMAGED,
    UPLOAD_OFFSET_WRONG,
    UPLOAD_QUOTA,
    UPLOAD_UNKNOWN,
    Problem,
)
from cosyhost.voices import Library

CHUNK_BYTES = 32_768
UNFINISHED_TTL_S = 3600
# Less than `voices.UNNAMED_PROMPT_TTL_S`: what is said to be there is there.
FINISHED_TTL_S = 20 * 3600
# At once and unfinished, per user and in all: bytes declared, not bytes arrived.
UPLOADS_PER_USER = 4
UPLOADS_IN_ALL = 500
BYTES_IN_ALL = 256 * 1024 * 1024
RETRY_AFTER_S = 30
# A check that has not ended by then died with its process: the next look begins anew.
CHECK_S = 60


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far an upload is: `have` holds the offsets of the chunks that are there."""

    length: int
    have: list[int]
    complete: bool = False

    @property
    def offset(self) -> int:
        """Bytes that are there without a gap from the beginning."""
        there, offset = set(self.have), 0
        while offset in there:
            offset = min(offset + CHUNK_BYTES, self.length)
        return offset


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A checked upload; `prompt` names it in the voice library."""

    sha256: str
    prompt: str
    seconds: float
    sample_rate: int
    length: int
    complete: bool = True


# The register of unfinished uploads is swept of expired ones whenever a new one begins, so it
# stays as small as what it counts.
_STORE_CHUNK = """
local upload, register = KEYS[1], KEYS[2]
local length, offset, data = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local ttl, user = ARGV[4], ARGV[5]
local per_user, in_all, bytes_in_all = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local known = redis.call('HGET', upload, 'length')
if known and tonumber(known) ~= length then return -1 end
if not known then
  local mine, all, bytes = 0, 0, 0
  local entries = redis.call('HGETALL', register)
  for i = 1, #entries, 2 do
    if redis.call('EXISTS', entries[i]) == 0 then redis.call('HDEL', register, entries[i])
    else
      all = all + 1
      bytes = bytes + tonumber(entries[i + 1])
      if string.find(entries[i], user, 1, true) == 1 then mine = mine + 1 end
    end
  end
  if mine >= per_user or all >= in_all or bytes + length > bytes_in_all then return -2 end
  redis.call('HSET', register, upload, length)
  redis.call('HSET', upload, 'length', length)
end
redis.call('HSET', upload, offset, data)
redis.call('EXPIRE', upload, ttl)
return redis.call('HKEYS', upload)
"""


class Uploads:
    """Uploads of all users. Any method may raise QUEUE_UNAVAILABLE as a `Problem`."""

    def __init__(self, client: redis.Redis, library: Library, limit_bytes: int) -> None:
        self._redis = client
        self._library = library
        self._limit_bytes = limit_bytes
        self._store_chunk = client.register_script(_STORE_CHUNK)

    def finished(self, user: str, sha256: str) -> Finished | None:
        """What this user sent before, if it is still there."""
        data = cast("bytes | None", self._call("get", _done(user, sha256)))
        done = msgspec.json.decode(data, type=Finished) if data else None
        return done if done and self._library.has_prompt(done.prompt) else None

    def look(self, user: str, sha256: str) -> Progress | Finished:
        """How far the upload is; one whose chunks are all there is checked now.

        Raises:
            Problem: UPLOAD_UNKNOWN, UPLOAD_DAMAGED or a PROMPT_* kind.
        """
        if done := self.finished(user, sha256):
            return done
        fields = cast("list[bytes]", self._call("hkeys", _unfinished(user, sha256)))
        if not fields:
            raise Problem(UPLOAD_UNKNOWN)
        length = int(cast(bytes, self._call("hget", _unfinished(user, sha256), "length") or b"0"))
        return self._judge(user, sha256, length, fields)

    def take(
        self, user: str, sha256: str, length: int, offset: int, data: bytes
    ) -> Progress | Finished:
        """Store a chunk; the one that completes the upload also checks it.

        Raises:
            Problem: UPLOAD_OFFSET_WRONG, UPLOAD_QUOTA, UPLOAD_DAMAGED or a PROMPT_* kind.
        """
        if length < 1:
            raise Problem(PROMPT_EMPTY)
        if length > self._limit_bytes:
            limit_mb = self._limit_bytes / 1e6
            raise Problem(PROMPT_TOO_LARGE, size_mb=length / 1e6, limit_mb=limit_mb)
        right = offset % CHUNK_BYTES == 0 and 0 <= offset < length
        if not right or len(data) != min(CHUNK_BYTES, length - offset):
            raise Problem(UPLOAD_OFFSET_WRONG, offset=offset)
        if done := self.finished(user, sha256):
            return done
        try:
            stored = self._store_chunk(
                keys=[_unfinished(user, sha256), "uploads"],
                args=[
                    length,
                    offset,
                    data,
                    UNFINISHED_TTL_S,
                    _of_user(user),
                    UPLOADS_PER_USER,
                    UPLOADS_IN_ALL,
                    BYTES_IN_ALL,
                ],
            )
        except redis.RedisError as error:
            raise Problem(QUEUE_UNAVAILABLE, retry_after_s=5) from error
        if stored == -1:
            raise Problem(UPLOAD_OFFSET_WRONG, offset=offset)
        if stored == -2:
            raise Problem(UPLOAD_QUOTA, retry_after_s=RETRY_AFTER_S)
        # As it was when this chunk came: of chunks that come at once only the last finishes.
        return self._judge(user, sha256, length, cast("list[bytes]", stored))

    def _judge(
        self, user: str, sha256: str, length: int, fields: list[bytes]
    ) -> Progress | Finished:
        """Check the upload if its chunks are all there and nobody is at it."""
        have = sorted(int(field) for field in fields if field != b"length")
        if len(have) < _chunks(length):
            return Progress(length=length, have=have)
        checking = _checking(user, sha256)
        if not self._call("set", checking, b"", nx=True, ex=CHECK_S):
            return Progress(length=length, have=have)
        try:
            return self._finish(user, sha256)
        finally:
            self._call("delete", checking)

    def drop(self, user: str, sha256: str) -> None:
        """Forget what was sent."""
        self._call("delete", _unfinished(user, sha256))

    def _finish(self, user: str, sha256: str) -> Finished:
        """Check the whole and keep it as a prompt."""
        fields = cast("Mapping[bytes, bytes]", self._call("hgetall", _unfinished(user, sha256)))
        if not fields:  # another request was quicker, or the time was up
            if done := self.finished(user, sha256):
                return done
            raise Problem(UPLOAD_UNKNOWN)
        parts = sorted((int(key), part) for key, part in fields.items() if key != b"length")
        whole = b"".join(part for _, part in parts)
        try:
            if hashlib.sha256(whole).hexdigest() != sha256:
                raise Problem(UPLOAD_DAMAGED)
            prompt = read_prompt(whole, self._limit_bytes)
        except Problem as problem:
            if problem.kind.status < 500:  # else it is the server's, and the next look tries again
                self.drop(user, sha256)
            raise
        done = Finished(
            sha256=sha256,
            prompt=self._library.keep_prompt(prompt),
            seconds=prompt.seconds,
            sample_rate=prompt.sample_rate,
            length=len(whole),
        )
        self._call("set", _done(user, sha256), msgspec.json.encode(done), ex=FINISHED_TTL_S)
        self.drop(user, sha256)
        return done

    def _call(self, command: str, *args: Any, **options: Any) -> Any:
        try:
            return getattr(self._redis, command)(*args, **options)
        except redis.RedisError as error:
            raise Problem(QUEUE_UNAVAILABLE, retry_after_s=5) from error


def _chunks(length: int) -> int:
    return -(-length // CHUNK_BYTES)


def _of_user(user: str) -> str:
    return f"upload:{user}:"


def _unfinished(user: str, sha256: str) -> str:
    return f"{_of_user(user)}{sha256}"


def _checking(user: str, sha256: str) -> str:
    return f"checking:{user}:{sha256}"


def _done(user: str, sha256: str) -> str:
    return f"uploaded:{user}:{sha256}"
