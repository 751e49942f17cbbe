"""Uploads on a real Redis: chunks in any order, again, overlapping, of wrong lengths and hashes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from cosyhost.audio import Prompt
from cosyhost.errors import Problem
from cosyhost.uploads import CHUNK_BYTES, Finished, Uploads
from tests.fuzz.harness import Left, Run, Target

LIMIT = 5 * CHUNK_BYTES


class _Shelf:
    """A library that keeps nothing: what is fuzzed ends where a prompt was found to be good."""

    def has_prompt(self, _: str) -> bool:
        return False

    def keep_prompt(self, prompt: Prompt) -> str:
        raise AssertionError(f"random bytes were taken for a prompt: {prompt.sha256}")


def make(rng: random.Random) -> bytes:
    """A plan as JSON: the declared length, whether the hash is right, and the chunks."""
    length = rng.choice((1, 5, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES - 7, LIMIT))
    right = [(at, min(CHUNK_BYTES, length - at)) for at in range(0, length, CHUNK_BYTES)]
    rng.shuffle(right)
    chunks = right * rng.choice((0, 1, 1, 2))
    for _ in range(rng.choice((0, 0, 1, 3))):
        offset = rng.choice((-1, 0, 1, CHUNK_BYTES, length, 1 << 40, rng.randrange(LIMIT)))
        wrong = (offset, rng.choice((0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1)))
        chunks.insert(rng.randint(0, len(chunks)), wrong)
    said = [length] * 6 + [0, -1, length + 1, LIMIT + 1, 1 << 62]
    plan = {
        "length": length,
        "right_hash": rng.random() < 0.02,  # only then a decoder starts
        "chunks": [(rng.choice(said), at, size) for at, size in chunks],
        "user": f"{rng.getrandbits(96):024x}",
    }
    return json.dumps(plan).encode()


def _send(uploads: Uploads, plan: dict[str, object], whole: bytes, sha256: str) -> None:
    """Send the chunks of a plan; each may be refused, by a problem that is the client's."""
    user, chunks = plan["user"], plan["chunks"]
    assert isinstance(user, str)
    assert isinstance(chunks, list)
    for said, at, size in chunks:
        data = whole[max(at, 0) : max(at, 0) + size].ljust(size, b"x")
        try:
            state = uploads.take(user, sha256, said, at, data)
        except Problem as problem:
            if problem.kind.status >= 500:
                raise
            continue
        assert not isinstance(state, Finished)
        assert sorted(set(state.have)) == state.have
        assert 0 <= state.offset <= state.length


@contextlib.contextmanager
def _own_redis() -> Iterator[redis.Redis]:
    with tempfile.TemporaryDirectory(prefix="cosyhost-redis-", dir="/tmp") as folder:
        door = Path(folder) / "redis.sock"
        options = ("--port", "0", "--unixsocket", str(door), "--save", "")
        command = ["redis-server", *options]
        server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        try:
            while not door.exists():
                assert server.poll() is None, "Redis does not start"
                time.sleep(0.01)
            with redis.Redis(unix_socket_path=str(door)) as client:
                yield client
        finally:
            server.terminate()
            server.wait(10)


@contextlib.contextmanager
def _open() -> Iterator[Run]:
    with _own_redis() as client:
        uploads = Uploads(client, _Shelf(), LIMIT)  # type: ignore[arg-type]

        def run(data: bytes) -> None:
            plan = json.loads(data)
            whole = random.Random(plan["user"]).randbytes(plan["length"])
            sha256 = hashlib.sha256(whole if plan["right_hash"] else whole + b"?").hexdigest()
            _send(uploads, plan, whole, sha256)
            uploads.drop(plan["user"], sha256)

        yield run
        # The register is swept when the next upload begins; it may hold the last one.
        keys = [str(key) for key in client.scan_iter() if key != b"uploads"]
        if keys or client.hlen("uploads") > 1:
            raise Left(f"Redis keys: {keys[:3]}")


TARGET = Target("upload", make, _open)
