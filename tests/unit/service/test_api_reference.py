"""The API's page tells the truth: every sample and every example in it is run."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cosyhost.web.operations import OPERATIONS
from tests import prompts
from tests.unit.service.conftest import ROOT

SAMPLE = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)
SHA256 = "0" * 64
WISH = {"input": "你好。", "voice": "nobody"}
TIMINGS = {"upload", "queue", "ttfa", "synth", "encode"}
JOB = "/v1/jobs/{job_id}"
VOICE = "/v1/audio/voices/{name}"
UPLOAD = "/v1/uploads/{sha256}"
# One provocation of each sort the table names: method, template, path, arguments of the request.
REFUSALS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("POST", "/v1/audio/speech", "", {"json": WISH}),
    ("POST", "/v1/audio/speech", "", {"json": {"input": "你好。"}}),
    ("POST", "/v1/audio/speech", "", {"json": WISH | {"input": " "}}),
    ("POST", "/v1/audio/speech", "", {"json": WISH | {"input": "好" * 501}}),
    ("POST", "/v1/audio/speech", "", {"json": WISH | {"speed": 9}}),
    ("POST", "/v1/audio/speech", "", {"json": WISH | {"mode": "sing"}}),
    ("POST", "/v1/audio/speech", "", {"json": WISH | {"response_format": "doc"}}),
    ("POST", "/v1/audio/speech", "", {"json": WISH | {"ref_audio": "data:,"}}),
    ("POST", "/v1/audio/speech", "", {"json": {"input": "你好。", "ref_upload": SHA256}}),
    ("POST", "/v1/jobs", "", {"json": {"voice": "nobody"}}),
    ("POST", "/v1/audio/voices", "", {"data": {"name": "x"}}),
    ("POST", "/v1/audio/voices", "", {"data": {"name": "<x>"}}),
    ("PATCH", VOICE, "/v1/audio/voices/nobody", {"json": {"name": "x"}}),
    ("DELETE", VOICE, "/v1/audio/voices/nobody", {}),
    ("GET", VOICE + "/audio", "/v1/audio/voices/nobody/audio", {}),
    ("GET", JOB, "/v1/jobs/nothing", {}),
    ("GET", JOB + "/events", "/v1/jobs/nothing/events", {}),
    ("GET", JOB + "/audio", "/v1/jobs/nothing/audio", {}),
    ("GET", JOB + "/audio", "/v1/jobs/nothing/audio?response_format=doc", {}),
    ("DELETE", JOB, "/v1/jobs/nothing", {}),
    ("GET", UPLOAD, f"/v1/uploads/{SHA256}", {}),
    ("GET", UPLOAD, "/v1/uploads/short", {}),
    ("PATCH", UPLOAD, f"/v1/uploads/{SHA256}", {"content": b"x"}),
    (
        "PATCH",
        UPLOAD,
        f"/v1/uploads/{SHA256}",
        {"content": b"x", "headers": {"Upload-Offset": "7", "Upload-Length": "9"}},
    ),
]


@pytest.fixture(scope="module", autouse=True)
def borrowed() -> None:
    """What the page borrows from npm, which a fresh checkout does not have yet."""
    if not (ROOT / "service/cosyhost/web/static/vendor/swagger-ui.css").exists():
        runpy.run_path(str(ROOT / "service/hatch_build.py"), run_name="__main__")


@pytest.fixture(scope="module")
def reference(service: httpx.Client) -> dict[str, Any]:
    """The OpenAPI document as clients get it."""
    document: dict[str, Any] = service.get("/openapi.json").json()
    return document


def samples(operation: dict[str, Any]) -> list[str]:
    return SAMPLE.findall(operation["description"])


def like(example: Any, real: Any) -> None:
    """`real` has the members of `example`; the page names them all."""
    if isinstance(example, dict):
        assert set(example) == set(real)
        for name, value in example.items():
            if name == "timings_s":  # grows as its job goes on: a quick worker may be ahead of us
                assert set(real[name]) <= TIMINGS
            else:
                like(value, real[name])
    elif isinstance(example, list) and example:
        for one in real:
            like(example[0], one)


def test_every_operation_is_described(reference: dict[str, Any]) -> None:
    there = {(method.upper(), path) for path, all_ in reference["paths"].items() for method in all_}
    assert there == set(OPERATIONS)
    for (method, path), operation in OPERATIONS.items():
        page = reference["paths"][path][method.lower()]
        english, _, chinese = page["summary"].partition(" · ")
        assert english
        assert re.search("[\u4e00-\u9fff]", chinese)
        assert samples(page) == [operation.sample + "\n"]
        assert "internal_error" in json.dumps(page["responses"]["500"])
        if method in ("POST", "PATCH") and page.get("requestBody"):
            content = page["requestBody"]["content"]
            assert "multipart/form-data" in content or content["application/json"]["examples"]
    assert "HTTPValidationError" not in json.dumps(reference)


def test_every_sample_runs_and_answers_as_its_example_says(
    service: httpx.Client, reference: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "prompt.wav").write_bytes(prompts.good())
    environment = {**os.environ, "COSYHOST": str(service.base_url).rstrip("/"), "JOB": ""}
    for method, path in OPERATIONS:
        page = reference["paths"][path][method.lower()]
        (sample,) = samples(page)
        ran = subprocess.run(
            ["bash", "-eu", "-c", sample],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, f"{method} {path}: {ran.stdout}{ran.stderr}"
        for answer in page["responses"].values():
            if "example" in (body := answer.get("content", {}).get("application/json", {})):
                like(body["example"], json.loads(ran.stdout))
        if path == "/v1/jobs" and method == "POST":
            environment["JOB"] = json.loads(ran.stdout)["id"]
    assert (tmp_path / "speech.wav").read_bytes()[:4] == b"RIFF"
    assert (tmp_path / "speech.ogg").read_bytes()[:4] == b"OggS"
    assert (tmp_path / "output.flac").read_bytes()[:4] == b"fLaC"
    assert len((tmp_path / "head.wav").read_bytes()) == 1024


def test_every_request_example_is_taken(service: httpx.Client, reference: dict[str, Any]) -> None:
    tried = 0
    for path, methods in reference["paths"].items():
        for method, page in methods.items():
            content = page.get("requestBody", {}).get("content", {}).get("application/json", {})
            for example in content.get("examples", {}).values():
                service.post(
                    "/v1/audio/voices",
                    data={"name": "Alice", "ref_text": prompts.TRANSCRIPT},
                    files={"audio_sample": ("a.wav", prompts.good())},
                )
                url = path.replace("{name}", "Alice")
                answer = service.request(method, url, json=example["value"])
                assert str(answer.status_code) in page["responses"], answer.text
                assert answer.is_success, answer.text
                tried += 1
    assert tried > 5
    for name in service.get("/v1/audio/voices").json()["voices"]:
        if name in ("Alice", "Bob"):
            service.delete(f"/v1/audio/voices/{name}")


@pytest.mark.parametrize(("method", "template", "path", "arguments"), REFUSALS)
def test_a_refusal_is_in_the_catalogue_of_its_operation(
    service: httpx.Client,
    reference: dict[str, Any],
    method: str,
    template: str,
    path: str,
    arguments: dict[str, Any],
) -> None:
    answer = service.request(method, path or template, **arguments)
    real = answer.json()
    page = reference["paths"][template][method.lower()]["responses"][str(answer.status_code)]
    kind = answer.headers["content-type"]
    documented = page["content"][kind]["examples"][real["code"]]["value"]
    assert set(documented) == set(real) - {"error"}
    for name, words in documented.items():
        pattern = re.sub(r"\\{\w+\\}", ".*", re.escape(str(words)))
        assert re.fullmatch(pattern, str(real[name])), (words, real[name])


def test_the_page_names_what_the_door_says(reference: dict[str, Any]) -> None:
    edge = yaml.safe_load((ROOT / "roles/edge/vars/main.yml").read_text("utf-8"))
    for status, error in edge["__edge_errors"].items():
        found = re.search(rf"`{error['code']}`\s\(([^)]*)\)", reference["info"]["description"])
        assert found, error["code"]
        assert str(status) in found[1]


def test_the_page_names_no_other_host(service: httpx.Client) -> None:
    page = service.get("/docs")
    assert page.status_code == 200
    assert not re.search(r"(?:https?:)?//[a-z]", page.text.replace("http://www.w3.org", ""))
    for asset in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert service.get(asset).status_code == 200, asset
