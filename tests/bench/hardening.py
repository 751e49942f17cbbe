"""What the hardened door costs: requests and jobs through the demo's site, beside a bare proxy.

The same nginx twice before the same web process, worker and Redis: with the demo's rendered site
(limits, maps, headers, policy, and its log and gzip, which cost too), and with `proxy_pass` alone.
In turns, medians of the rounds.
Not in it: the units' sandboxes, which need a booted systemd (a system call filter is a comparison
of a number in the kernel), and what the service checks by itself on both ways.

`make bench BENCH=hardening` (about 2 minutes).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests import prompts
from tests.bench.overhead import deployment, through_the_queue
from tests.debs import program
from tests.roles.test_door import door
from tests.unit.service.conftest import free_port

ROUNDS, REQUESTS, JOBS, SIDE_BY_SIDE = 7, 800, 48, 4

BARE = """daemon off; pid {folder}/bare.pid; error_log {folder}/bare.log;
worker_processes 2; events {{ worker_connections 768; }}
http {{ access_log off; {scratch}
  upstream web {{ server {upstream}; keepalive 16; }}
  server {{ listen 127.0.0.1:{port}; client_max_body_size 20m;
    location / {{ proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $http_host; proxy_buffering off; }} }} }}
"""


@contextmanager
def bare(folder: Path, upstream: str) -> Iterator[str]:
    """The URL of a proxy that only proxies."""
    port = free_port()
    scratch = "".join(
        f"{name}_temp_path {folder}/bare-{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    settings = folder / "bare.conf"
    settings.write_text(BARE.format(folder=folder, scratch=scratch, upstream=upstream, port=port))
    errors = folder / "bare.log"
    server = subprocess.Popen([program("nginx", "nginx"), "-e", errors, "-c", settings])
    try:
        for _ in range(100):
            try:
                httpx.get(f"http://127.0.0.1:{port}/healthz")
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


def per_second(url: str, count: int, act: Callable[[httpx.Client], object]) -> float:
    """How often a second some clients at once get it done."""

    def some() -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            for _ in range(count // SIDE_BY_SIDE):
                act(client)

    threads = [threading.Thread(target=some) for _ in range(SIDE_BY_SIDE)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count // SIDE_BY_SIDE * SIDE_BY_SIDE / (time.monotonic() - began)


def ask(client: httpx.Client) -> None:
    """A request that the service answers from memory."""
    client.get("/v1/models").raise_for_status()


def main() -> None:
    """Measure in turns; one JSON line last."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx reads as nobody
        (folder / "service").mkdir()
        (folder / "door").mkdir()
        with deployment(folder / "service") as client:
            fields = {"name": "bench", "ref_text": prompts.TRANSCRIPT, "consent": "bench"}
            files = {"audio_sample": ("prompt.wav", prompts.good())}
            client.post("/v1/audio/voices", data=fields, files=files).raise_for_status()
            upstream = f"{client.base_url.host}:{client.base_url.port}"
            # So many from one address are let through here, or only refusals would be measured.
            told = {"edge_upstream": upstream, "edge_upstream_timeout_s": 60}
            told |= {"edge_api_requests_per_second": 100_000}
            with (
                door("demo", folder / "door", **told) as hardened,
                bare(folder, upstream) as plain,
            ):
                urls = {"bare": plain, "hardened": f"http://127.0.0.1:{hardened.port}"}
                rates: dict[tuple[str, str], list[float]] = {}
                for number in range(rounds + 1):
                    for way, url in urls.items():
                        found = {
                            "requests": per_second(url, REQUESTS, ask),
                            "jobs": per_second(url, JOBS, through_the_queue),
                        }
                        for what, rate in found.items():
                            if number:  # the first round warms up
                                rates.setdefault((what, way), []).append(rate)
    medians = {key: statistics.median(values) for key, values in rates.items()}
    for what in ("requests", "jobs"):
        print(f"{what}/s: " + ", ".join(f"{way} {medians[what, way]:.1f}" for way in urls))
    costs = {w: 1 - medians[w, "hardened"] / medians[w, "bare"] for w in ("requests", "jobs")}
    figures = {
        "throughput_cost": round(costs["jobs"], 4),
        "requests_cost": round(costs["requests"], 4),
        "jobs_per_s": round(medians["jobs", "hardened"], 1),
        "requests_per_s": round(medians["requests", "hardened"], 1),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
