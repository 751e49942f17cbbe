"""What dashboards ask of the web process and of the host is answered by real ones."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cosyhost.config import Config
from tests import prometheus
from tests.debs import program
from tests.questions import fill, questions
from tests.unit.service.conftest import free_port
from tests.unit.service.test_api import wish

JOBS = {"web", "node"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a node exporter."""
    address = f"127.0.0.1:{free_port()}"
    exporter = program("prometheus-node-exporter", "prometheus-node-exporter")
    with (tmp_path_factory.mktemp("node") / "log").open("wb") as log:
        process = subprocess.Popen(
            [exporter, f"--web.listen-address={address}"], stdout=log, stderr=log
        )
    yield address
    process.terminate()
    process.wait(10)


def test_every_question_about_jobs_and_host_has_an_answer(
    service: httpx.Client, config: Config, node: str, tmp_path: Path
) -> None:
    asked = [one for one in questions() if one.jobs and one.jobs <= JOBS]
    assert {one.dashboard for one in asked} >= {"cosyhost-requests", "cosyhost-gpu"}
    jobs = {"web": f"{config.web.listen}:{config.web.port}", "node": node}
    with prometheus.running(tmp_path, jobs, labels={"tier": config.tier}) as server:
        deadline = time.monotonic() + 40
        open_still = asked
        while open_still:
            assert time.monotonic() < deadline, "\n".join(["no answer:", *map(str, open_still)])
            service.post("/v1/audio/speech", json=wish()).raise_for_status()
            assert service.post("/v1/audio/speech", json=wish(input="")).status_code == 422
            time.sleep(1)
            open_still = [
                one
                for one in open_still
                if not server.ask(fill(one.expr, __rate_interval="10s", tier=config.tier))
            ]
