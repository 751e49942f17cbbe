"""The store: a folder whose volume comes and goes, and a bucket on a real S3 server."""

from __future__ import annotations

import contextlib
import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from cosyhost import config
from cosyhost.errors import Problem
from cosyhost.retention import Policy, run
from cosyhost.retention.places import place_of
from cosyhost.store import FOLDERS, AlreadyExistsError, Store
from tests import prompts, s3
from tests.netns import needs_root
from tests.unit.service.conftest import ROOT, TEMPLATE, eventually, free_port
from tests.unit.service.test_api import TEXT, wish

OUTPUT, VOICE = "outputs/a.wav", "voices/names/a.json"


@pytest.fixture(params=["folder", "bucket"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> config.Store:
    """Both sorts of store."""
    if request.param == "folder":
        return config.Store(f"file://{tmp_path}/data", endpoint="", region="")
    found: config.Store = request.getfixturevalue("bucket")
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[s3.Server]:
    """A running S3 server."""
    found = s3.Server("127.0.0.1", free_port())
    found.start()
    yield found
    found.stop()


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What systemd hands over."""
    (tmp_path / "store_key").write_text(f"{s3.KEY_ID}\n{s3.SECRET}\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    return tmp_path


@pytest.fixture
def bucket(server: s3.Server, credentials: Path) -> config.Store:
    """A prefix of its own in the server's bucket."""
    return config.Store(
        f"s3://{s3.BUCKET}/{credentials.name}", endpoint=server.endpoint, region="us-east-1"
    )


def test_what_is_put_is_there_until_it_is_deleted(settings: config.Store) -> None:
    store = Store(settings)
    assert store.get(OUTPUT) is None
    assert not store.exists(OUTPUT)
    store.put(OUTPUT, b"sound")
    store.put(VOICE, b"{}", new=True)
    with pytest.raises(AlreadyExistsError):
        store.put(VOICE, b"other", new=True)
    assert (store.get(OUTPUT), store.get(VOICE)) == (b"sound", b"{}")
    assert [key for key, _ in store.keys("voices")] == [VOICE]
    store.check()
    store.delete(OUTPUT)
    store.delete(OUTPUT)
    assert not store.exists(OUTPUT)
    assert Store(settings).get(VOICE) == b"{}"


def everything(store: Store) -> list[tuple[str, Callable[[], object]]]:
    """Whatever can be asked of a store."""
    return [
        ("put", lambda: store.put(OUTPUT, b"x")),
        ("get", lambda: store.get(VOICE)),
        ("exists", lambda: store.exists(VOICE)),
        ("delete", lambda: store.delete(OUTPUT)),
        ("keys", lambda: store.keys("voices")),
        ("check", store.check),
    ]


def assert_unavailable(store: Store) -> None:
    """Nothing is said to be missing, nothing is written."""
    for name, act in everything(store):
        with pytest.raises(Problem) as caught:
            act()
        assert caught.value.kind.code == "store_unavailable", name
        assert caught.value.retry_after_s


def test_a_volume_that_went_away_is_no_empty_store(tmp_path: Path) -> None:
    """A folder moved aside, and beneath it the bare mount point."""
    where, aside = tmp_path / "volume", tmp_path / "aside"
    store = Store(config.Store(f"file://{where}", endpoint="", region=""))
    store.put(VOICE, b"{}")
    where.rename(aside)
    where.mkdir()
    assert_unavailable(store)
    with pytest.raises(Problem):
        store.free_bytes()
    assert_unavailable(Store(config.Store(f"file://{where}", endpoint="", region="")))
    assert list(where.iterdir()) == []
    where.rmdir()
    aside.rename(where)
    assert store.get(VOICE) == b"{}"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A volume of 1 MB."""
    where = tmp_path / "small"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "small", where], check=True)
    for name in ("voices", "outputs"):
        (where / name).mkdir()
    yield where
    subprocess.run(["umount", "--lazy", where], check=True)


@needs_root
def test_a_full_volume_says_so_and_leaves_no_half_file(small: Path) -> None:
    store = Store(config.Store(f"file://{small}", endpoint="", region=""))
    store.put(OUTPUT, b"x" * 500_000)
    with pytest.raises(Problem) as caught:
        store.put("outputs/b.wav", b"x" * 600_000)
    assert caught.value.kind.code == "storage_full"
    assert [path.name for path in (small / "outputs").iterdir()] == ["a.wav"]
    store.delete(OUTPUT)
    store.put("outputs/b.wav", b"x" * 600_000)


@needs_root
def test_a_volume_that_is_read_only_is_read(small: Path) -> None:
    store = Store(config.Store(f"file://{small}", endpoint="", region=""))
    store.put(OUTPUT, b"sound")
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    assert store.get(OUTPUT) == b"sound"
    with pytest.raises(Problem) as caught:
        store.check()
    assert caught.value.kind.code == "store_unavailable"
    subprocess.run(["mount", "-o", "remount,rw", small], check=True)
    store.check()


# S3


def test_a_prefix_is_a_store_of_its_own(bucket: config.Store) -> None:
    store = Store(bucket)
    store.put(OUTPUT, b"sound")
    other = Store(config.Store(f"{bucket.url}/other", bucket.endpoint, bucket.region))
    assert other.keys("outputs") == []


def test_a_bucket_that_is_not_there_is_no_empty_store(bucket: config.Store) -> None:
    url = bucket.url.replace(s3.BUCKET, "nobodys")
    store = Store(config.Store(url, bucket.endpoint, bucket.region))
    asked = dict(everything(store))
    for name in ("put", "get", "keys", "check"):
        with pytest.raises(Problem) as caught:
            asked[name]()
        assert caught.value.kind.code == "store_unavailable"


def test_a_server_that_is_gone_or_hangs_is_unavailable_and_comes_back(credentials: Path) -> None:
    server = s3.Server("127.0.0.1", free_port())
    settings = config.Store(f"s3://{s3.BUCKET}", endpoint=server.endpoint, region="us-east-1")
    store = Store(settings)
    assert_unavailable(store)
    server.start()
    try:
        store.put(VOICE, b"{}")
        server.pause()
        with pytest.raises(Problem) as caught:
            store.check()
        assert caught.value.kind.code == "store_unavailable"
        server.resume()
        assert store.get(VOICE) == b"{}"
    finally:
        server.stop()


@dataclass
class Refusal:
    """What the refusing server answers, and what it was asked."""

    status: int
    hosts: list[str]
    authorizations: list[str]


@contextlib.contextmanager
def refusing(status: int) -> Iterator[tuple[str, Refusal]]:
    """A server that answers everything with the status, as S3 words it."""
    told = Refusal(status, [], [])

    class Handler(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            told.hosts.append(f"{self.headers['Host']}{self.path}")
            told.authorizations.append(self.headers.get("Authorization", ""))
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            self.send_response(told.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _answer

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", told
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_a_server_that_refuses_is_unavailable(
    status: int, credentials: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with refusing(status) as (endpoint, told):
        store = Store(config.Store("s3://bucket/a", endpoint=endpoint, region="r-1"))
        assert_unavailable(store)
    assert all(host.split("/", 1)[1].startswith("bucket") for host in told.hosts)
    assert all(f"{s3.KEY_ID}/" in said and "/r-1/s3/" in said for said in told.authorizations)
    assert "the store: " in caplog.text
    assert s3.SECRET not in caplog.text


def test_an_endpoint_with_the_buckets_name_is_asked_as_it_is(credentials: Path) -> None:
    with refusing(403) as (endpoint, told):
        store = Store(config.Store("s3://127", endpoint=endpoint, region="r-1"))
        with pytest.raises(Problem):
            store.get(OUTPUT)
    assert told.hosts == [f"{endpoint.removeprefix('http://')}/{OUTPUT}"]


def left(bucket: config.Store) -> list[str]:
    """The names of what the bucket holds."""
    store = Store(bucket)
    return [key for folder in FOLDERS for key, _ in store.keys(folder)]


def test_retention_of_a_bucket_goes_by_age_then_total_oldest_first(bucket: config.Store) -> None:
    store = Store(bucket)
    store.put(VOICE, b"{}")
    store.check()
    for name in "abc":
        store.put(f"outputs/{name}.wav", bytes(1000))
        time.sleep(1.1)  # S3 dates by the second
    kept = [VOICE, "outputs/.ready", "outputs/b.wav", "outputs/c.wav"]
    later = time.time() + 7200
    with place_of(bucket) as place:
        run(place, Policy(0, 2500, 0), now=time.time())
        assert "outputs/a.wav" in left(bucket), "somebody may be listening"
        report = run(place, Policy(86_400, 2500, 0), now=later)
    assert (report.old_files, report.excess_files, report.lacking_bytes) == (0, 1, 0)
    assert sorted(left(bucket)) == sorted(kept)
    with place_of(bucket) as place:
        report = run(place, Policy(3600, 0, 0), now=later)
    assert report.old_files == 2
    assert sorted(left(bucket)) == sorted(kept[:2])


def test_retention_of_a_bucket_that_refuses_or_is_not_there_says_so(
    bucket: config.Store, credentials: Path
) -> None:
    nobodys = config.Store(f"s3://nobodys/{credentials.name}", bucket.endpoint, bucket.region)
    with refusing(403) as (endpoint, _):
        for settings in (nobodys, config.Store("s3://bucket", endpoint=endpoint, region="r")):
            with pytest.raises(Problem) as caught, place_of(settings) as place:
                run(place, Policy(3600, 0, 0), now=time.time())
            assert caught.value.kind.code == "retention_place"
            assert settings.url in caught.value.sentence("en")


@pytest.fixture
def deployment(
    bucket: config.Store, config_path: Path, credentials: Path, config: config.Config
) -> Iterator[tuple[httpx.Client, Path]]:
    """Web and worker of their own, beside the session's, on the bucket; their settings."""
    port, queue = free_port(), config.redis.url.replace("/0", "/5")
    text = TEMPLATE.format(web_port=port, redis_port=0, folder=credentials)
    text = text.replace("redis://127.0.0.1:0/0", queue)
    text = text.replace(f"file://{credentials}/data", bucket.url)
    where = f'endpoint = "{bucket.endpoint}"\nregion = "{bucket.region}"'
    text = text.replace('endpoint = ""\nregion = ""', where)
    text = text.replace("time_limit_s = 30", "time_limit_s = 120")
    path = credentials / "cosyhost.toml"
    path.write_text(text)
    running = []
    for verb in ("web", "worker"):
        command = [sys.executable, "-m", "cosyhost.cli", "--config", str(path), verb]
        log = (credentials / f"{verb}.log").open("ab")
        running.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT))
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        eventually(lambda: ready(client) == 200, "the service")
        yield client, path
    for process in running:
        process.terminate()
    for process in running:
        process.wait(30)


def ready(client: httpx.Client) -> int:
    """The status of /readyz; 0 while nobody answers."""
    try:
        return client.get("/readyz").status_code
    except httpx.TransportError:
        return 0


def test_the_service_speaks_from_a_bucket_and_ranges_work(
    deployment: tuple[httpx.Client, Path], bucket: config.Store
) -> None:
    client, path = deployment
    made = client.post(
        "/v1/audio/voices",
        data={"name": "Alice", "ref_text": prompts.TRANSCRIPT},
        files={"audio_sample": ("prompt.wav", prompts.good())},
    )
    assert made.status_code == 200, made.text
    job = client.post("/v1/jobs", json={"input": TEXT, "voice": "Alice"}).json()["id"]
    eventually(lambda: client.get(f"/v1/jobs/{job}").json()["state"] == "done", "the job")
    whole = client.get(f"/v1/jobs/{job}/audio")
    assert whole.content == Store(bucket).get(f"outputs/{job}.wav")
    part = client.get(f"/v1/jobs/{job}/audio", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    again = client.get(f"/v1/jobs/{job}/audio", headers={"If-None-Match": whole.headers["etag"]})
    assert again.status_code == 304

    # Too young to go: somebody may be listening.
    ran = retention(path)
    assert ran.returncode == 0, ran.stderr
    assert client.get(f"/v1/jobs/{job}/audio").status_code == 200
    assert client.delete(f"/v1/jobs/{job}?forget=true").status_code in (204, 404)


def retention(path: Path) -> subprocess.CompletedProcess[str]:
    """The chore, as its unit runs it."""
    return subprocess.run(
        [sys.executable, "-m", "cosyhost.cli", "--config", str(path), "retention"],
        cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip


def test_a_job_outlives_a_bucket_that_is_away_for_a_while(
    deployment: tuple[httpx.Client, Path], server: s3.Server
) -> None:
    client, _ = deployment
    assert client.get("/readyz").json()["store"] == "ok"
    job = client.post("/v1/jobs", json=wish()).json()["id"]
    server.pause()
    try:
        refused = client.post("/v1/jobs", json=wish())
        assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
        assert refused.headers["retry-after"]
        assert "存储" in refused.json()["detail_zh"]
        report = client.get("/readyz")
        assert (report.status_code, report.json()["store"]) == (503, "store_unavailable")
        assert client.get("/healthz").status_code == 200
    finally:
        server.resume()
    eventually(lambda: client.get(f"/v1/jobs/{job}").json()["state"] in ("done", "failed"), "it")
    assert client.get(f"/v1/jobs/{job}").json()["state"] == "done"
    assert ready(client) == 200
