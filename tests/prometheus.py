"""A real Prometheus on loopback."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.debs import program


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus, over HTTP."""

    http: httpx.Client

    def _get(self, path: str, expr: str) -> Any:
        answer = self.http.get(f"/api/v1/{path}", params={"query": expr})
        document = answer.json()
        assert document["status"] == "success", f"{document['error']}: {expr}"
        return document["data"]

    def formatted(self, expr: str) -> str:
        """The expression as Prometheus' own parser writes it; fails where it is none."""
        return str(self._get("format_query", expr))

    def ask(self, expr: str) -> list[float]:
        """The values that the expression has now; NaN, which panels do not draw, is none."""
        data = self._get("query", expr)
        values = [float(row["value"][1]) for row in data["result"]]
        return [value for value in values if not math.isnan(value)]


@contextmanager
def running(
    folder: Path,
    jobs: Mapping[str, str] | None = None,
    rules: Sequence[Path] = (),
    labels: Mapping[str, str] | None = None,
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes each job's one target, host:port by job, every second."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [target], "labels": labels or {}}]}
            for job, target in (jobs or {}).items()
        ],
    }
    path = folder / "prometheus.yml"
    path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    command: list[str | Path] = [
        program("prometheus", "prometheus"), f"--config.file={path}",
        f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as http:
            _wait_ready(http, process, folder / "prometheus.log")
            yield Prometheus(http)
    finally:
        process.terminate()
        process.wait(20)


def _wait_ready(http: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            if http.get("/-/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < deadline, "Prometheus was not ready within 30 s"
        time.sleep(0.05)
