"""From click to "voice ready" over a thin line: ours, stock Gradio, and what plain TCP needs.

A person in Chromium behind an emulated line (5 Mbit/s up, 20 down, 40 ms round trip, 1 % loss, TCP
cubic as on any user's machine) chooses a 15 s, 48 kHz, stereo WAV. The service, stock Gradio of
the same version and a TCP sink run on one host of the testbed, the first two behind its nginx. A
"click" is the moment at which the file is chosen; before it the hand comes to the button, and a
file dialog takes `DIALOG_S`. All seconds are those of the page's own clock. Ours is ready when the
widget shows it; stock Gradio already when the answer to its upload is there.

Opus and WebCodecs need a secure origin: Chromium is told to take the host for one.

Run it on an idle machine, as root: `make bench BENCH=upload` (about 10 minutes).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests import chromium, prompts
from tests.bench._lan import lan_host
from tests.e2e.tier import Tier
from tests.testbed import Host, Testbed, WanClient

RUNS = 7
LINE: dict[str, Any] = {"up_mbit": 5.0, "down_mbit": 20.0, "delay_ms": 20.0, "loss_pct": 1.0}
# The lossless upload takes some seconds here, so that outages fall into it.
OUTAGE_LINE: dict[str, Any] = {"up_mbit": 1.0, "down_mbit": 5.0, "delay_ms": 20.0, "loss_pct": 0.0}
OUTAGE_RUNS, OUTAGE_S, OUTAGES = 3, 10.0, 10
PROMPT_S, DIALOG_S = 15, 1.0
STOCK_PORT, STOCK_EDGE_PORT, SINK_PORT = 7999, 8080, 7998
STOCK = f"""
import gradio
with gradio.Blocks() as page:
    gradio.Audio()
page.launch(server_name="127.0.0.1", server_port={STOCK_PORT}, quiet=True, inbrowser=False)
"""
# nginx as it comes; its limit of 1 MB would refuse the file.
STOCK_EDGE = f"""
server {{
    listen {STOCK_EDGE_PORT};
    client_max_body_size 10m;
    location / {{ proxy_pass http://127.0.0.1:{STOCK_PORT}; proxy_set_header Host $http_host; }}
}}
"""
# Reads a length and that many bytes, answers with one: the line has carried all of it.
SINK = f"""
import socket
server = socket.create_server(("0.0.0.0", {SINK_PORT}))
while True:
    peer = server.accept()[0]
    left = int.from_bytes(peer.recv(8), "big")
    while left > 0:
        left -= len(peer.recv(min(left, 1 << 20)))
    peer.sendall(b"!")
    peer.close()
"""
SEND = """
import socket, sys, time
began = time.monotonic()
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as peer:
    size = int(sys.argv[3])
    peer.sendall(size.to_bytes(8, "big") + bytes(size))
    peer.recv(1)
    print(time.monotonic() - began)
"""
# Notes when a file is chosen and each state that the widget shows, and counts audio bytes sent.
WATCH = """
  window.bench = { chosen: 0, states: [], sent: 0, length: 0, asked: [] };
  document.addEventListener('change', (event) => {
    if (event.target.type === 'file') bench.chosen = performance.now();
  }, true);
  new MutationObserver((changes) => {
    for (const { target } of changes) {
      if (!target.matches('.cp')) continue;
      bench.states.push({ state: target.dataset.state, at: performance.now() });
    }
  }).observe(document, { subtree: true, attributes: true, attributeFilter: ['data-state'] });
  const own = window.fetch;
  window.fetch = (where, init) => {
    if (init?.method === 'PATCH') {
      bench.sent += init.body.byteLength;
      bench.length = Number(init.headers['Upload-Length']);
    }
    if (String(where).includes('/v1/uploads/')) bench.asked.push(performance.now());
    return own(where, init);
  };
"""
READY = """() => {
  const ready = bench.states.find(({ state, at }) => state === 'ready' && at > bench.chosen);
  if (!bench.chosen || !ready) return null;
  const requests = performance.getEntriesByType('resource')
    .filter((entry) => entry.name.includes('/v1/uploads/') && entry.startTime >= bench.chosen);
  const began = Math.min(...bench.asked.filter((at) => at >= bench.chosen));
  return {
    seconds: (ready.at - bench.chosen) / 1000,
    upload_s: (Math.max(...requests.map((r) => r.responseEnd)) - began) / 1000,
    sent: bench.sent,
    size: bench.length,
  };
}"""
STOCK_READY = """() => {
  const [answer] = performance.getEntriesByType('resource')
    .filter((entry) => new URL(entry.name).pathname === '/gradio_api/upload' && entry.responseEnd);
  return answer ? { seconds: (answer.responseEnd - bench.chosen) / 1000 } : null;
}"""


@dataclass(frozen=True)
class Ready:
    """How a chosen file became a voice.

    `upload_s` is from the first question to the server to its last answer, its check included;
    `sent` are the bytes of audio that left, repeated ones included, of the `size` that it has.
    """

    seconds: float
    upload_s: float
    sent: int
    size: int


def long_prompt(seed: int = 0) -> bytes:
    """`PROMPT_S` of speech at 48 kHz, stereo, as a phone's recorder exports it."""
    data, rate = prompts.samples()
    times = (np.arange(PROMPT_S * 48_000) * rate / 48_000 + seed) % len(data)
    mono = np.interp(times, np.arange(len(data)), data)
    return prompts.wav(np.stack([mono, mono * 0.9], axis=1).astype(np.float32), 48_000)


@contextmanager
def background(host: Host, name: str, *command: str) -> Iterator[None]:
    """A program on the host, until the context ends."""
    host.run("systemd-run", "--quiet", "--collect", f"--unit={name}", *command)
    try:
        yield
    finally:
        host.run("systemctl", "stop", name)


@contextmanager
def stock_gradio(host: Host) -> Iterator[str]:
    """The URL of stock Gradio behind nginx, in the service's own Python environment."""
    python = "/opt/cosyhost/current/web/bin/python"
    place = "/etc/nginx/conf.d/bench-stock.conf"
    with background(host, "bench-stock", python, "-c", STOCK):
        host.put(STOCK_EDGE, place)
        host.run("systemctl", "reload", "nginx")
        try:
            host.run(
                "curl", "-sSf", "--retry", "60", "--retry-delay", "1", "--retry-connrefused",
                "-o", "/dev/null", f"http://127.0.0.1:{STOCK_PORT}/",
            )  # fmt: skip
            yield f"http://{host.ip}:{STOCK_EDGE_PORT}"
        finally:
            host.run("rm", place)
            host.run("systemctl", "reload", "nginx")


def visit(browser: Browser, url: str, **memory: object) -> Page:
    """The page for somebody new; `memory` is what their browser remembers."""
    context: BrowserContext = browser.new_context(locale="en-GB")
    keep = "".join(
        f"localStorage.setItem({json.dumps(key)}, JSON.stringify({json.dumps(value)}));"
        for key, value in memory.items()
    )
    context.add_init_script(WATCH + keep.replace('"now"', "Date.now()"))
    page = context.new_page()
    page.goto(url, timeout=120_000)
    page.wait_for_selector("input[type=file]", state="attached", timeout=120_000)
    page.wait_for_timeout(1500)  # the page settles
    return page


def begin(page: Page, file: Path) -> None:
    """The hand comes to the button, the dialog opens, the file is chosen."""
    page.evaluate("Object.assign(bench, { chosen: 0, states: [], sent: 0, length: 0, asked: [] })")
    button = page.locator("#cosy-prompt button[data-do=pick], #cosy-prompt button[data-do=replace]")
    button.locator("visible=true").first.hover()
    page.wait_for_timeout(DIALOG_S * 1000)
    page.set_input_files("#cosy-prompt input[type=file]", file)


def choose(page: Page, file: Path) -> Ready:
    """Choose a file and wait until it is a voice."""
    begin(page, file)
    return ready(page)


def ready(page: Page) -> Ready:
    """Wait until the chosen file is a voice."""
    found = page.wait_for_function(READY, timeout=400_000, polling=50).json_value()
    return Ready(**found)


def own(browser: Browser, url: str, file: Path, *, small: bool) -> tuple[Ready, Ready]:
    """Somebody new chooses the file; and chooses it again, known by then."""
    # Slow-connection mode chooses itself where the uplink was found thin.
    thin = {"cosyhost.uplink": {"bps": 400_000, "at": "now"}} if small else {}
    page = visit(browser, url, **thin)
    first = choose(page, file)
    form = page.inner_text("#cosy-prompt .cp-format")
    if small != ("Opus" in form) or not first.sent:
        raise SystemExit(f"upload: sent as {form}, {first}")
    again = choose(page, file)
    page.context.close()
    return first, again


def stock(browser: Browser, url: str, file: Path) -> float:
    """Seconds that stock Gradio takes for the file."""
    page = visit(browser, url)
    page.locator("button:has(input[type=file]), .upload-container button").first.hover()
    page.wait_for_timeout(DIALOG_S * 1000)
    page.set_input_files("input[type=file]", file)
    found: dict[str, float] = page.wait_for_function(
        STOCK_READY, timeout=120_000, polling=50
    ).json_value()
    page.context.close()
    return found["seconds"]


def plain_tcp(client: WanClient, host: Host, size: int) -> float:
    """Seconds that so many bytes take over one TCP connection, its opening included."""
    said = client.run("python3", "-c", SEND, host.ip, str(SINK_PORT), str(size), timeout=120)
    return float(said.stdout)


def speeds(bed: Testbed, tier: Tier, runs: int, file: Path) -> dict[str, Any]:
    """All ways in turn, so that the machine's moods hit all."""
    own_s: dict[str, list[Ready]] = {"lossless": [], "slow mode": []}
    known: list[Ready] = []
    stock_s, tcp_s = [], []
    with ExitStack() as stack:
        playwright = stack.enter_context(sync_playwright())
        client = stack.enter_context(bed.wan_client("person", **LINE))
        stock_url = stack.enter_context(stock_gradio(tier.host))
        stack.enter_context(background(tier.host, "bench-sink", "python3", "-c", SINK))
        browser = stack.enter_context(chromium.on_line(playwright, client, secure=[tier.url]))
        for turn in range(runs):
            stock_s.append(stock(browser, stock_url, file))
            for mode, found in own_s.items():
                first, again = own(browser, tier.url, file, small=mode == "slow mode")
                found.append(first)
                known.append(again)
            tcp_s.append(plain_tcp(client, tier.host, own_s["lossless"][-1].sent))
            print(
                f"{turn + 1}/{runs}: stock {stock_s[-1]:.2f} s, "
                f"lossless {own_s['lossless'][-1].seconds:.2f}, "
                f"slow mode {own_s['slow mode'][-1].seconds:.2f}, "
                f"known {known[-2].seconds:.2f} and {known[-1].seconds:.2f}, "
                f"upload {own_s['lossless'][-1].upload_s:.2f} beside TCP {tcp_s[-1]:.2f}",
                flush=True,
            )
    if any(again.sent for again in known):
        raise SystemExit(f"upload: audio that is known was sent again: {known}")
    stock_p50 = statistics.median(stock_s)
    lossless, small = (
        statistics.median(ready.seconds for ready in found) for found in own_s.values()
    )
    upload_p50 = statistics.median(ready.upload_s for ready in own_s["lossless"])
    return {
        "speedup_lossless": round(stock_p50 / lossless, 2),
        "speedup_slow_mode": round(stock_p50 / small, 2),
        "known_audio_s": round(statistics.median(ready.seconds for ready in known), 3),
        "vs_tcp_limit": round(upload_p50 / statistics.median(tcp_s), 2),
        "stock_gradio_s": round(stock_p50, 2),
        "lossless_s": round(lossless, 2),
        "slow_mode_s": round(small, 2),
        "plain_tcp_s": round(statistics.median(tcp_s), 2),
    }


def outages(bed: Testbed, tier: Tier, file: Path) -> dict[str, Any]:
    """What an outage costs, and an upload that has to live through ten."""
    whole_s, broken_s, again = [], [], []
    with (
        bed.wan_client("person", **OUTAGE_LINE) as client,
        sync_playwright() as playwright,
        chromium.on_line(playwright, client, secure=[tier.url]) as browser,
    ):
        for turn in range(OUTAGE_RUNS):
            whole_s.append(lossless(browser, tier.url, file, client, 0).seconds)
            broken = lossless(browser, tier.url, file, client, 1)
            broken_s.append(broken.seconds)
            again.append(broken.sent - broken.size)
            print(f"outage {turn + 1}/{OUTAGE_RUNS}: {whole_s[-1]:.2f} s, {broken}", flush=True)
        many = lossless(browser, tier.url, file, client, OUTAGES)
        print(f"{OUTAGES} outages: {many}", flush=True)

    extra_s = statistics.median(broken_s) - statistics.median(whole_s) - OUTAGE_S
    return {
        "outage_extra_s": round(extra_s, 2),
        "outage_resent_kib": round(max(again) / 1024, 1),
        "ten_outages_s": round(many.seconds, 1),
        "ten_outages_resent_kib": round((many.sent - many.size) / 1024, 1),
    }


def lossless(browser: Browser, url: str, file: Path, client: WanClient, dead: int) -> Ready:
    """Send it lossless on a line that dies so many times, spread over the upload."""
    page = visit(browser, url)
    begin(page, file)
    page.get_by_text("Lossless", exact=True).click()
    bar = page.locator("#cosy-prompt [role=progressbar]")
    for turn in range(dead):
        # Each from another place; a line that has just come back is given time to move.
        least = 100 * (turn + 1) // (dead + 2)
        page.wait_for_function(
            "([bar, least]) => Number(bar.ariaValueNow) >= least",
            arg=[bar.element_handle(), least], timeout=60_000, polling=50,
        )  # fmt: skip
        with client.outage():
            page.wait_for_timeout(OUTAGE_S * 1000)
    done = ready(page)
    if "Ready" not in page.inner_text("#cosy-prompt [role=status]"):
        raise SystemExit("upload: no valid voice after an outage")
    page.context.close()
    return done


def main() -> None:
    """Measure; one JSON line last."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=RUNS, help="of each way")
    parser.add_argument("--keep", action="store_true", help="leave the host for another run")
    options = parser.parse_args()
    with lan_host(options.keep) as (bed, tier), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recording.wav"
        file.write_bytes(long_prompt())
        figures = speeds(bed, tier, options.runs, file) | outages(bed, tier, file)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
