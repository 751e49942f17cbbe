"""The queue: who can reach it, and whether it keeps what it was given."""

from __future__ import annotations

from typing import Any

import pytest
from testinfra.host import Host

from tests.audit.test_edge import listeners

pytestmark = pytest.mark.group("queue")
CONFIG = "/etc/redis/redis-cosyhost.conf"


def ask(host: Host, values: dict[str, Any], command: str, password: bool = True) -> str:
    """Redis's answer; the password goes from its file into the environment, never further."""
    login = f"REDISCLI_AUTH=$(sed -n 's/^requirepass //p' {CONFIG}) " if password else ""
    where = f"-h {values['redis_bind'][0]} -p {values['redis_port']}"
    said = host.run(f"{login}redis-cli --no-auth-warning {where} {command} 2>&1")
    return str(said.stdout).strip()


def setting(host: Host, values: dict[str, Any], name: str) -> str:
    """A setting of the running Redis."""
    lines = ask(host, values, f"config get {name}").splitlines()
    return lines[1] if len(lines) > 1 else " ".join(lines)


@pytest.mark.control(
    "QUEUE-BIND",
    "network",
    why="an open Redis is found within minutes and misused",
    zh="对外开放的 Redis 几分钟内就会被发现并滥用",
)
def test_the_queue_listens_at_its_addresses_only(host: Host, values: dict[str, Any]) -> None:
    port = int(values["redis_port"])
    there = {address for (address, at), process in listeners(host) if at == port}
    wanted = {str(address) for address in values["redis_bind"]}
    assert there == wanted, f"listens at {sorted(there)}, should at {sorted(wanted)}"


@pytest.mark.control(
    "QUEUE-PASSWORD",
    "access",
    why="any process of the host could read the jobs otherwise",
    zh="否则主机上任何进程都能读取任务",
)
def test_the_queue_needs_its_password(host: Host, values: dict[str, Any]) -> None:
    bare = ask(host, values, "ping", password=False)
    assert "NOAUTH" in bare, f"without a password it said {bare!r}"
    known = ask(host, values, "ping")
    assert known == "PONG", f"with its password it said {known!r}"
    file = host.file(CONFIG)
    assert (file.user, file.group, file.mode) == ("root", "redis", 0o640), (
        f"{CONFIG}: {file.mode:o} {file.user}:{file.group}, should be 640 root:redis"
    )


@pytest.mark.control(
    "QUEUE-LOG",
    "storage",
    why="without the log a killed Redis lost 48 to 52 jobs of 200",
    zh="没有日志时，被杀掉的 Redis 在 200 个任务中丢失 48 到 52 个",
)
def test_the_queue_writes_its_log(host: Host, values: dict[str, Any]) -> None:
    said = {name: setting(host, values, name) for name in ("appendonly", "appendfsync")}
    assert said == {"appendonly": "yes", "appendfsync": "everysec"}, said
    status = ask(host, values, "info persistence")
    assert "aof_last_write_status:ok" in status, status


@pytest.mark.control(
    "QUEUE-EVICTION",
    "limits",
    why="a full queue must refuse new jobs, not drop old ones",
    zh="队列满了应拒绝新任务，而不是丢弃旧任务",
)
def test_the_queue_never_drops_a_job(host: Host, values: dict[str, Any]) -> None:
    policy = setting(host, values, "maxmemory-policy")
    assert policy == "noeviction", policy
    assert int(setting(host, values, "maxmemory")) > 0, "there is no limit on its memory"
