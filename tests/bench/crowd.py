"""100 browsers idle on the page and 20 uploading at once: what the web process needs for it.

All load the page through nginx on a host of the testbed and keep open what it keeps open. A few
are real Chromiums; the others are light clients, each at an address of its own, which repeat
request by request what the first real one asked (`_people.py`), under sessions of their own. At
the end nginx's log must show the same requests for the light ones as for the real, page and upload
both, or the bench fails. Uploads come over lines of 1 Mbit/s each, one voice after the other.

Run it on an idle machine, as root: `make bench BENCH=crowd`.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, Request, sync_playwright

from tests import chromium, prompts
from tests.bench._lan import lan_host
from tests.bench._people import CHUNK_BYTES, POLL_S, POLLED, Asked, Plan
from tests.e2e.tier import ROOT, Tier
from tests.testbed import Client, Host, Testbed

IDLE, BUSY, REAL = 100, 20, 3
SECONDS = 30.0
UPLINK_BPS = 1e6
VOICE_S, VOICES = 15, 12
FIRST_ADDRESS = 101  # of the light ones, in the testbed's subnet
# Chromium asks for it beside the page, where Playwright does not see it.
ICON = Asked("GET", "/favicon.ico", None, "", held=False)
LOG = "/var/log/cosyhost/nginx-access.log"


def voice(seed: int) -> bytes:
    """15 s as the page sends it: mono, 24 kHz, FLAC."""
    data, rate = prompts.samples()
    times = (np.arange(VOICE_S * 24_000) * rate / 24_000 + 997 * seed) % len(data)
    sound = np.interp(times, np.arange(len(data)), data).astype(np.float32)
    return prompts.encoded(sound, 24_000, "FLAC", "PCM_16")


class Recorder:
    """What a page asks while it loads and settles."""

    def __init__(self, page: Page, url: str) -> None:
        self._url = url
        self._asked: list[Request] = []
        self._ended: set[Request] = set()
        page.on("request", lambda asked: self._asked.append(asked))
        page.on("requestfinished", lambda asked: self._ended.add(asked))
        page.on("requestfailed", lambda asked: self._ended.add(asked))

    def all(self) -> list[Asked]:
        """In the order in which they were made."""
        return [
            Asked(
                asked.method,
                asked.url.removeprefix(self._url),
                asked.post_data,
                asked.headers.get("content-type", ""),
                asked not in self._ended,
            )
            for asked in self._asked
            if asked.url.startswith(self._url)
        ]


def session_of(page: list[Asked]) -> str:
    """Gradio's name for the page's session, or '' when it said none."""
    for asked in page:
        if found := re.search(r'session_hash["=:\s]+(\w+)', f"{asked.path} {asked.body}"):
            return found[1]
    return ""


@contextmanager
def light_people(client: Client, plan: Plan) -> Iterator[subprocess.Popen[str]]:
    """The light browsers, their pages loaded."""
    with subprocess.Popen(
        client.command(sys.executable, "-m", "tests.bench._people"),
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as people:  # fmt: skip
        assert people.stdin
        assert people.stdout
        people.stdin.write(json.dumps(asdict(plan)) + "\n")
        people.stdin.flush()
        print(people.stdout.readline().strip() or "the light browsers failed", flush=True)
        yield people
        people.stdin.close()


class Web:
    """The web process on the host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        shown = host.run("systemctl", "show", "-P", "MainPID", "cosyhost-web").stdout
        self._process = f"/proc/{int(shown)}"
        self._ticks_per_s = int(host.run("getconf", "CLK_TCK").stdout)

    def cpu_s(self) -> float:
        """Seconds of CPU that it has used, decoders (processes of their own) not counted."""
        fields = self._host.run("cat", f"{self._process}/stat").stdout.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / self._ticks_per_s

    def rss_mb(self) -> float:
        """The most memory that it ever had."""
        status = self._host.run("cat", f"{self._process}/status").stdout
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024 / 1e6


def logged(host: Host, address: str) -> Counter[str]:
    """What nginx answered to that address: method and path, uploads under one name."""
    lines = [json.loads(line) for line in host.run("cat", LOG).stdout.splitlines()]
    return Counter(
        f"{line['method']} {re.sub('/v1/uploads/.*', '/v1/uploads/...', line['path'])}"
        for line in lines
        if line["client"] == address
    )


def same_requests(real: Counter[str], light: Counter[str], apart_s: float) -> None:
    """Raises SystemExit when the light ones did something else than a real browser.

    `apart_s` is by how much one page was open longer than the other: it asked more often how the
    workers are.
    """
    polled = f"GET {POLLED}"
    polls = abs(real.pop(polled, 0) - light.pop(polled, 0))
    if real != light or polls > apart_s / POLL_S + 1:
        raise SystemExit(f"crowd: real {real - light} more, light {light - real} more")


def open_page(browser: Browser, url: str) -> tuple[Page, Recorder]:
    """A real browser on the page, settled."""
    page = browser.new_context(locale="en-GB").new_page()
    recorder = Recorder(page, url)
    page.goto(url + "/")
    page.wait_for_selector("#cosy-prompt input[type=file]", state="attached", timeout=60_000)
    page.wait_for_timeout(4000)
    return page, recorder


def upload_for_real(page: Page, file: Path) -> int:
    """A real upload, lossless; the number of its bytes."""
    sizes: list[int] = []

    def note(asked: Request) -> None:
        if asked.method == "PATCH":
            sizes.append(int(asked.headers["upload-length"]))

    page.on("request", note)
    page.set_input_files("#cosy-prompt input[type=file]", file)
    page.wait_for_selector("#cosy-prompt [data-state=ready]", timeout=60_000)
    return sizes[0]


def measure(bed: Testbed, tier: Tier, seconds: float) -> dict[str, Any]:
    """The crowd comes, and part of it uploads."""
    host, subnet = tier.host, bed.settings.subnet
    host.run("sh", "-c", f"truncate -s 0 {LOG} && systemctl restart cosyhost-web")
    host.run(
        "curl", "-sSf", "--retry", "60", "--retry-delay", "1", "--retry-all-errors",
        "-o", "/dev/null", "http://127.0.0.1:7860/readyz",
    )  # fmt: skip
    web = Web(host)
    addresses = [str(subnet[FIRST_ADDRESS + n]) for n in range(IDLE - REAL + BUSY)]
    with ExitStack() as stack:
        playwright = stack.enter_context(sync_playwright())
        real, opened = [], time.monotonic()
        for n in range(REAL):
            client = bed.client(f"real{n}")
            stack.callback(client.down)
            browser = stack.enter_context(chromium.on_line(playwright, client))
            real.append((client, *open_page(browser, tier.url)))
        recorded = [*real[0][2].all(), ICON]
        client = bed.client("crowd")
        stack.callback(client.down)
        prefix = subnet.prefixlen
        orders = "\n".join(f"address add {address}/{prefix} dev host0" for address in addresses)
        subprocess.run(
            ["ip", "-netns", client.netns, "-batch", "-"], input=orders, text=True, check=True
        )
        plan = Plan(
            url=tier.url,
            page=recorded,
            session=session_of(recorded),
            idle=addresses[BUSY:],
            busy=addresses[:BUSY],
            voices=[base64.b64encode(voice(n)).decode() for n in range(VOICES)],
            seconds=seconds,
            uplink_bps=UPLINK_BPS,
        )
        with light_people(client, plan) as people:
            assert people.stdin
            assert people.stdout
            apart_s = time.monotonic() - opened
            before, began = web.cpu_s(), time.monotonic()
            time.sleep(10)
            idle_cores = (web.cpu_s() - before) / (time.monotonic() - began)
            before, began = web.cpu_s(), time.monotonic()
            people.stdin.write("upload\n")
            people.stdin.flush()
            report = json.loads(people.stdout.readline())
            cores = (web.cpu_s() - before) / (time.monotonic() - began)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "voice.wav"
            data, rate = prompts.samples()
            file.write_bytes(prompts.wav(np.resize(data, VOICE_S * rate), rate))
            before_upload = logged(host, real[0][0].ip)
            size = upload_for_real(real[0][1], file)
        rss_mb = web.rss_mb()
    print(f"{rss_mb:.0f} MB, {idle_cores:.3f} and {cores:.3f} cores, {report}", flush=True)
    host.run("sleep", "1")  # nginx logs a request when it has ended
    same_requests(logged(host, real[1][0].ip), logged(host, addresses[-1]), apart_s)
    sent = logged(host, real[0][0].ip) - before_upload
    uploaded = Counter({k: v for k, v in sent.items() if "/v1/uploads/" in k})
    as_light = {"GET /v1/uploads/...": 1, "PATCH /v1/uploads/...": -(-size // CHUNK_BYTES)}
    same_requests(uploaded, Counter(as_light), 0)
    for what, count in report["errors"].items():
        print(f"error, {count} times: {what}")
    return {
        "web_rss_mb": round(rss_mb),
        "web_cores": round(cores, 3),
        "uploads_per_s": round(report["uploads"] / report["seconds"], 2),
        "errors": sum(report["errors"].values()),
        "web_cores_idle": round(idle_cores, 3),
        "idle": IDLE,
        "uploading": BUSY,
        "requests_of_a_page": len(recorded),
        "held_open_by_a_page": sum(asked.held for asked in recorded),
    }


def main() -> None:
    """Measure; one JSON line last."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of uploading")
    parser.add_argument("--keep", action="store_true", help="leave the host for another run")
    options = parser.parse_args()
    with lan_host(options.keep) as (bed, tier):
        figures = measure(bed, tier, options.seconds)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
