"""What a host writes down of its work: JSON in one journal, files within limits, nobody's words.

A canary is in everything that a user can bring, on every way in, while things go well and while
they go wrong; then all logs of the host are searched for it, and for the tier's secrets.
"""

from __future__ import annotations

import base64
import contextlib
import json
import time
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import yaml
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from cosyhost.jobs import ENDED
from tests.e2e import voice
from tests.e2e.tier import ROOT, Tier

WORDS = ("canary7f3a9c", "金丝雀在矿井里唱歌")
CANARY = f"{WORDS[1]}。{WORDS[0]}"
# Keys that a user or a program might send, though nothing asks for one yet.
KEY = "sk-canary5e81d2"
FOLDER, ACCESS = "/var/log/cosyhost", "/var/log/cosyhost/nginx-access.log"
ROTATE = (
    "logrotate", "--force", "--state=/var/lib/cosyhost-logrotate/status",
    "/etc/cosyhost/logrotate.conf",
)  # fmt: skip
NAMESPACE = ("--namespace=cosyhost", "--no-pager")
# Prints to all that a program can print to, as an engine might which quotes what it could not say.
BAD_ESPEAK = "#!/bin/sh\ntee /dev/stderr\nexit 3\n"


@pytest.fixture(scope="module")
def sung(lan: Tier, prompt: bytes) -> str:
    """The canary sung everywhere; returns the job that was spoken."""
    headers = {"Authorization": f"Bearer {KEY}", "X-Api-Key": KEY, "Cookie": f"session={KEY}"}
    with httpx.Client(base_url=lan.url, timeout=180, headers=headers) as client:
        job = _all_goes_well(client, prompt)
        _requests_are_refused(client, prompt)
        _live(lan, prompt)
        with _failing_engine(lan):
            ended = client.post("/v1/audio/speech", json=_wish(prompt))
            assert ended.status_code == 500, ended.text
        _dead_letter(lan, client, prompt)
        _the_store_fails(lan, client, prompt)
        _the_queue_is_away(lan, client, prompt)
        _nginx_refuses(client)
    lan.host.run("systemctl", "start", "cosyhost-retention.service")
    return job


def _wish(prompt: bytes, **fields: Any) -> dict[str, Any]:
    return voice.request(prompt, **{"input": CANARY, "ref_text": CANARY, **fields})


def _all_goes_well(client: httpx.Client, prompt: bytes) -> str:
    client.delete(f"/v1/audio/voices/{WORDS[0]}")
    fields = {"name": WORDS[0], "ref_text": CANARY, "consent": CANARY}
    sample = {"audio_sample": (f"{CANARY}.wav", prompt)}
    fields["speaker_description"] = CANARY
    made = client.post("/v1/audio/voices", data=fields, files=sample)
    assert made.status_code == 200, made.text
    spoken = client.post("/v1/audio/speech", json=_wish(prompt))
    assert spoken.status_code == 200, spoken.text
    wishes: tuple[dict[str, Any], ...] = (
        {"mode": "instruct", "instructions": CANARY},
        {"stream_format": "sse"},
        {"ref_audio": None, "voice": WORDS[0], "response_format": "mp3"},
    )
    for wish in wishes:
        answer = client.post("/v1/audio/speech", json=_wish(prompt, **wish))
        assert answer.status_code == 200, answer.text
    name = urllib.parse.quote(WORDS[1])
    renamed = client.patch(f"/v1/audio/voices/{WORDS[0]}", json={"name": WORDS[1]})
    assert renamed.status_code == 200, renamed.text
    assert client.get(f"/v1/audio/voices/{name}/audio").status_code == 200
    assert client.delete(f"/v1/audio/voices/{name}").status_code == 200
    return str(spoken.headers["X-CosyHost-Job"])


def _requests_are_refused(client: httpx.Client, prompt: bytes) -> None:
    quoted = urllib.parse.quote(CANARY)
    wishes: tuple[dict[str, Any], ...] = (
        {"input": f"{CANARY}<|endofprompt|>"},
        {"input": CANARY * 200},
        {"mode": CANARY},
        {"response_format": CANARY},
        {"speed": CANARY},
        {"seed": CANARY},
        {"voice": CANARY, "ref_audio": None},
        {"ref_audio": CANARY},
        {"ref_audio": voice.data_uri(CANARY.encode() * 500)},
        {"ref_upload": CANARY, "ref_audio": None},
        {"input": {CANARY: CANARY}},
    )
    for wish in wishes:
        answer = client.post("/v1/audio/speech", json=_wish(prompt, **wish))
        assert 400 <= answer.status_code < 500, answer.text
    for path in ("/v1/audio/speech", "/v1/jobs", "/gradio_api/call/x", "/gradio_api/queue/join"):
        for body in (f'{{"input": "{CANARY}"', f'{{"data": ["{CANARY}"], "fn_index": 0}}'):
            raw = {"Content-Type": "application/json"}
            answer = client.post(path, content=body.encode(), headers=raw)
            assert answer.status_code >= 400, (path, answer.text)
    for path in (
        f"/v1/audio/voices/{quoted}",
        f"/v1/audio/voices/{quoted}/audio",
        f"/v1/jobs/{quoted}",
        f"/v1/uploads/{quoted}",
        f"/?text={quoted}&__theme={quoted}",
        f"/v1/audio/voices?name={quoted}",
        f"/gradio_api/file={quoted}",
        f"/gradio_api/queue/data?session_hash={quoted}",
        f"/static/x?{quoted}",
    ):
        with contextlib.suppress(httpx.RemoteProtocolError):  # Gradio breaks off a strange session
            client.get(path)
        client.delete(path)
    sent = client.post("/v1/audio/voices", data={"name": CANARY * 20}, files={"x": prompt})
    assert 400 <= sent.status_code < 500, sent.text


def _nginx_refuses(client: httpx.Client) -> None:
    """Too large, too long, too much at once."""
    quoted = urllib.parse.quote(CANARY)
    assert client.post(f"/v1/jobs?{quoted}", content=bytes(30_000_000)).status_code == 413
    assert client.get(f"/v1/x?{quoted * 300}").status_code == 414
    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(client.get, [f"/v1/jobs/{quoted}"] * 200))
    assert 429 in {answer.status_code for answer in answers}
    _eventually(lambda: client.get("/v1/models").status_code == 200, "the crowd's end")


def _live(lan: Tier, prompt: bytes) -> None:
    with lan.client() as client:
        fields = {"name": "live", "ref_text": CANARY}
        client.post("/v1/audio/voices", data=fields, files={"audio_sample": ("a.wav", prompt)})
    url = f"{lan.url.replace('http', 'ws', 1)}/v1/audio/speech/live"
    for opening, piece in (
        ({"voice": "live"}, {"text": CANARY, "end": True}),
        ({"voice": CANARY}, {"text": CANARY, "end": True}),
        ({"voice": "live", "mode": CANARY}, {}),
        ({"voice": "live"}, {"text": [CANARY]}),
    ):
        with connect(url) as socket, contextlib.suppress(ConnectionClosed):
            socket.send(json.dumps(opening))
            socket.send(json.dumps(piece))
            while True:
                socket.recv(timeout=60)


@contextlib.contextmanager
def _failing_engine(lan: Tier) -> Iterator[None]:
    lan.host.run("mv", "/usr/bin/espeak-ng", "/usr/bin/espeak-ng.real")
    try:
        lan.host.put(BAD_ESPEAK, "/usr/bin/espeak-ng", 0o755)
        yield
    finally:
        lan.host.run("mv", "-f", "/usr/bin/espeak-ng.real", "/usr/bin/espeak-ng")


def _dead_letter(lan: Tier, client: httpx.Client, prompt: bytes) -> None:
    """A job whose child dies under it each time ends with its reason."""
    text = CANARY + voice.LONG_TEXT[:1900]
    sent = client.post("/v1/jobs", json=_wish(prompt, input=text))
    assert sent.status_code == 202, sent.text
    job = sent.json()["id"]

    def killed_to_the_end() -> bool:
        state = str(client.get(f"/v1/jobs/{job}").json()["state"])
        if state == "running":
            # The children that speak have espeak-ng below them. SEGV: their stacks go to the log.
            lan.host.run(
                "sh", "-c",
                "kill -SEGV $(ps -o ppid= -p $(pgrep -d, -x espeak-ng)) 2>/dev/null; true",
            )  # fmt: skip
        return state in ENDED

    _eventually(killed_to_the_end, "the end of the job")
    assert client.get(f"/v1/jobs/{job}").json()["state"] == "failed"


def _the_store_fails(lan: Tier, client: httpx.Client, prompt: bytes) -> None:
    voices = "/var/lib/cosyhost/voices"
    lan.host.run("sh", "-c", f"mv {voices} {voices}.away && : >{voices}")
    try:
        sample = {"audio_sample": ("a.wav", prompt)}
        for _ in range(2):
            fields = {"name": WORDS[0], "ref_text": CANARY}
            answer = client.post("/v1/audio/voices", data=fields, files=sample)
            assert answer.status_code >= 500, answer.text
        client.get(f"/v1/audio/voices/{WORDS[0]}/audio")
        client.post("/v1/audio/speech", json=_wish(prompt))
    finally:
        lan.host.run("sh", "-c", f"rm -f {voices} && mv {voices}.away {voices}")


def _the_queue_is_away(lan: Tier, client: httpx.Client, prompt: bytes) -> None:
    lan.host.run("systemctl", "stop", "redis-server@cosyhost")
    try:
        answer = client.post("/v1/audio/speech", json=_wish(prompt))
        assert answer.status_code == 503, answer.text
    finally:
        lan.host.run("systemctl", "start", "redis-server@cosyhost")

    # The first one after an outage is refused too: its connection is an old one.
    def speaks() -> bool:
        return client.post("/v1/audio/speech", json=_wish(prompt)).status_code == 200

    _eventually(speaks, "the service")


def needles(prompt: bytes) -> list[bytes]:
    """The canary as programs write it, and the middle of the prompt's sound."""
    found = [word.encode() for word in (*WORDS, KEY)]
    found += [json.dumps(WORDS[1])[1:-1].encode(), urllib.parse.quote(WORDS[1]).encode()]
    found += [json.dumps(WORDS[1])[1:-1].upper().encode().replace(b"\\U", b"\\u")]
    found += [repr(WORDS[1].encode())[2:-1].encode(), WORDS[1].encode("unicode_escape")]
    at = len(prompt) // 6 * 3
    found += [base64.b64encode(prompt)[at * 4 // 3 :][:40], prompt[at : at + 24]]
    return found


def secrets(lan: Tier) -> list[bytes]:
    """What the inventory made up, and what lies on the host as credentials."""
    made = [path.read_bytes() for path in (ROOT / "inventories/lan/secrets").glob("*")]
    kept = lan.host.run("sh", "-c", "cat /etc/cosyhost/credentials/*").stdout.encode()
    lines = b"\n".join([*made, kept]).splitlines()
    return [line.strip() for line in lines if len(line.strip()) > 7]


def search(lan: Tier, *wanted: bytes) -> list[str]:
    """Where one of these is, over all logs of the host and all metrics.

    The trail is no log: names of voices and words of consent are what it is kept for.
    """
    lan.host.put(b"\n".join(word for word in wanted if b"\n" not in word) + b"\n", "/run/needles")
    script = """
    journalctl --sync
    journalctl --namespace=cosyhost --sync
    journalctl --namespace='*' --output=export --no-pager | grep -aF -f /run/needles
    find /var/log /var/lib/cosyhost-logrotate -xdev -type f -not -path '/var/log/journal/*' \
      -not -path '/var/log/cosyhost-trail/*' -exec zgrep -aHF -f /run/needles {} ';'
    for port in 7860 7861; do
      curl -s http://127.0.0.1:$port/metrics | grep -aF -f /run/needles
    done
    dmesg 2>/dev/null | grep -aF -f /run/needles
    true
    """
    said = lan.host.run("sh", "-c", script).stdout.splitlines()
    lan.host.run("rm", "/run/needles")
    return [line[:300] for line in said]


def test_no_log_has_what_users_brought(lan: Tier, sung: str, prompt: bytes) -> None:
    assert search(lan, *needles(prompt)) == []


def test_no_log_has_a_secret(lan: Tier, sung: str) -> None:
    wanted = secrets(lan)
    assert len(wanted) >= 2
    assert search(lan, *wanted) == []


def test_the_trail_has_no_key_and_no_sound(lan: Tier, sung: str, prompt: bytes) -> None:
    lan.host.put(b"\n".join([*secrets(lan), KEY.encode(), *needles(prompt)[-2:-1]]), "/run/needles")
    found = lan.host.run("grep", "-raFf", "/run/needles", "/var/log/cosyhost-trail", check=False)
    assert (found.returncode, found.stdout) == (1, "")
    lan.host.run("rm", "/run/needles")


def test_no_log_has_the_id_of_a_job_where_others_read(lan: Tier, sung: str) -> None:
    """Who knows one may listen: the front door's log goes to more people than the journal."""
    said = lan.host.run("grep", "-rlF", sung, FOLDER, check=False).stdout
    assert said == ""


def test_our_processes_write_lines_of_json_with_their_level(lan: Tier, sung: str) -> None:
    lines = _journal(lan, "--identifier=cosyhost")
    records = {}
    for line in lines:
        # Stacks of a process that was killed by a signal are written by Python's faulthandler.
        with contextlib.suppress(ValueError):
            records[json.dumps(line)] = (line, json.loads(line["MESSAGE"]))
    told = list(records.values())
    for line, record in told:
        assert {"time", "level", "logger", "message"} <= set(record), record
        levels = {"2": "critical", "3": "error", "4": "warning", "6": "info", "7": "debug"}
        assert levels[line["PRIORITY"]] == record["level"], line
    jobs = [record for _, record in told if record.get("job") == sung]
    assert [record["message"] for record in jobs] == ["job ended"]
    assert jobs[0]["seconds"] > 0
    assert any(record.get("code") == "engine_failed" for _, record in told)
    assert any("reference" in record and "exception" in record for _, record in told)
    loggers = {record["logger"].partition(".")[0] for _, record in told}
    assert {"cosyhost", "celery"} <= loggers
    units = {line["_SYSTEMD_UNIT"] for line, _ in told}
    assert {
        "cosyhost-web.service", "cosyhost-worker@0.service", "cosyhost-retention.service",
    } <= units  # fmt: skip
    left = [line["MESSAGE"] for line in lines if json.dumps(line) not in records]
    stacks = ("Fatal Python error", "Thread 0x", "Current thread", "  File ", "Extension modules")
    assert [text for text in left if text.strip() and not str(text).startswith(stacks)] == []


def test_one_command_shows_a_units_lines_and_what_systemd_says_of_it(lan: Tier) -> None:
    said = lan.host.run(
        "journalctl", "--namespace=+cosyhost", "--no-pager", "--unit=cosyhost-worker@0"
    ).stdout
    assert "Started cosyhost-worker@0.service" in said
    assert '"logger":"cosyhost.worker' in said


def test_the_search_would_find_it(lan: Tier, sung: str) -> None:
    unit = ("--unit=cosyhost-canary", "--description=One that sings")
    lan.host.run("systemd-run", "--wait", "--quiet", *unit, "echo", CANARY)
    assert any(WORDS[0] in line for line in search(lan, WORDS[0].encode()))
    lan.host.run("journalctl", "--namespace=cosyhost", "--rotate")
    lan.host.run("journalctl", "--namespace=cosyhost", "--vacuum-size=1")
    assert search(lan, WORDS[0].encode()) == []


def test_nothing_of_ours_is_in_the_hosts_own_journal(lan: Tier) -> None:
    ours = ("--no-pager", "--output=json", "--unit=cosyhost-worker@*", "--unit=cosyhost-exporter")
    said = lan.host.run("journalctl", *ours).stdout
    others = {json.loads(line)["SYSLOG_IDENTIFIER"] for line in said.splitlines()}
    assert others <= {"systemd", "(cosyhost)"}, others


def test_nginx_goes_on_in_a_new_file(lan: Tier) -> None:
    with lan.client() as client:
        client.get("/healthz?before")
        before = lan.host.run("stat", "--format=%i", ACCESS).stdout
        lan.host.run(*ROTATE)
        assert lan.host.run("stat", "--format=%i", _newest(lan)).stdout == before
        # Each of nginx's processes changes over when it hears of it.
        _eventually(lambda: f"{ACCESS}-" not in _open_files(lan), "nginx")
        client.get("/v1/models")
    lines = lan.host.run("cat", ACCESS).stdout.splitlines()
    assert json.loads(lines[-1])["path"] == "/v1/models"
    owner = lan.host.run("stat", "--format=%U %G %a", ACCESS).stdout.strip()
    assert owner == "www-data adm 640"


def test_what_is_too_large_too_old_or_too_many_goes(lan: Tier) -> None:
    config = lan.host.run("cat", "/etc/cosyhost/logrotate.conf").stdout.split()
    most, count = (int(config[config.index(name) + 1]) for name in ("maxsize", "rotate"))
    values = yaml.safe_load((ROOT / "inventories/lan/group_vars/all/base.yml").read_text())
    assert 2 * (count + 2) * most <= values["base_log_max_bytes"]
    old = f"{values['base_log_days'] + 1} days ago"
    lan.host.run(
        "sh", "-ec",
        "umask 077; sleep 1\n"  # rotated files bear the second in their names
        f"for n in $(seq 100 {count + 105}); do : | gzip >{ACCESS}-20200101-100$n.gz; done\n"
        f"touch -d '{old}' {ACCESS}-20200101-100150.gz\n"
        f"head -c {most + 1} /dev/zero | tr '\\0' x >>{ACCESS}\n"
        "systemctl start cosyhost-logrotate.service",
    )  # fmt: skip
    left = lan.host.run("sh", "-c", f"ls {ACCESS}*").stdout.split()
    assert len(left) <= count + 1
    assert f"{ACCESS}-20200101-100150.gz" not in left
    assert f"{ACCESS}-20200101-100151.gz" in left
    assert int(lan.host.run("stat", "--format=%s", _newest(lan)).stdout) > most
    assert int(lan.host.run("stat", "--format=%s", ACCESS).stdout) < most


def test_the_journal_keeps_its_size_and_age(lan: Tier) -> None:
    lower = json.dumps({"base_log_max_bytes": 100_000_000})
    assert lan.provision("--tags", "base", "-e", lower).recap(lan.host.name)["changed"] > 0
    folder = "/var/log/journal/*.cosyhost"
    flood = "head -c 40000000 /dev/urandom | od -An -v -tx1 -w100"
    lan.host.run(
        "systemd-run", "--wait", "--quiet", "--unit=cosyhost-flood",
        "--property=LogRateLimitIntervalSec=1", "--property=LogRateLimitBurst=100000000",
        "sh", "-c", flood,
    )  # fmt: skip
    size = lan.host.run("sh", "-c", f"du -s --block-size=1 {folder} | cut -f1").stdout
    assert 50_000_000 < int(size) < 105_000_000
    # An archived file bears the time of its first line in its name.
    days = yaml.safe_load((ROOT / "inventories/lan/group_vars/all/base.yml").read_text())
    began = int((time.time() - (days["base_log_days"] + 1) * 86400) * 1e6)
    aged = lan.host.run(
        "sh", "-ec",
        f"cd {folder}; journalctl --namespace=cosyhost --rotate\n"
        f"old=$(ls system@*.journal | head -n 1); new=${{old%-*}}-{began:016x}.journal\n"
        "mv $old $new; echo $new",
    ).stdout.strip()  # fmt: skip
    lan.host.run("journalctl", "--namespace=cosyhost", "--rotate")
    lan.host.run("journalctl", "--namespace=cosyhost", "--sync")
    assert aged not in lan.host.run("sh", "-c", f"ls {folder}").stdout


def test_a_host_from_before_logs_there_after_one_run(lan: Tier) -> None:
    """And the limits are the tier's again."""
    lan.host.run(
        "sh", "-ec",
        "rm -r /etc/systemd/system/cosyhost-.service.d /etc/systemd/journald@cosyhost.conf\n"
        "systemctl daemon-reload; systemctl restart cosyhost-web cosyhost-probe-node",
    )  # fmt: skip
    failing = _failing(lan)
    assert "LOG-NAMESPACE" in failing
    assert "LOG-LIMITS" in failing
    lan.provision("--tags", "base")
    assert _failing(lan) == ""
    assert lan.provision("--tags", "base").recap(lan.host.name)["changed"] == 0


def _newest(lan: Tier) -> str:
    """The file that was rotated last."""
    return lan.host.run("sh", "-c", f"ls -t {ACCESS}-* | head -n 1").stdout.strip()


def _open_files(lan: Tier) -> str:
    """What nginx's processes have open."""
    script = 'for pid in $(pgrep -x nginx); do ls -l "/proc/$pid/fd"; done'
    return lan.host.run("sh", "-c", script).stdout


def _failing(lan: Tier) -> str:
    """The lines of the audit's table that say FAIL."""
    lines = lan.audit("-k", "test_logs").output.splitlines()
    return "\n".join(line for line in lines if line.endswith(("FAIL", "ERROR")))


def _journal(lan: Tier, *arguments: str) -> list[dict[str, Any]]:
    """The records of our journal."""
    said = lan.host.run("journalctl", *NAMESPACE, "--output=json", *arguments).stdout
    return [json.loads(line) for line in said.splitlines()]


def _eventually(condition: Callable[[], object], what: str, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.2)
