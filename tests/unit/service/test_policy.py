"""The policy of a page: what is in it as served runs, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import re

import httpx
import pytest

from cosyhost.web.policy import policy


def hashed(script: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"


def scripts_of(said: str) -> list[str]:
    (found,) = re.findall(r"script-src ([^;]*)", said)
    return str(found).split()


def test_inline_scripts_run_by_their_hashes() -> None:
    page = (
        b"<script>one()</script><SCRIPT type=module>\ntwo()\n</script ><script src=a.js></script>"
    )
    found = scripts_of(policy(page))
    assert {hashed(b"one()"), hashed(b"\ntwo()\n")} <= set(found)
    assert len(found) == 4, "and 'self' and WebAssembly, and nothing for a script with an address"


def test_a_page_without_scripts_gets_none() -> None:
    assert scripts_of(policy(b"<p>hello</p>")) == ["'self'", "'wasm-unsafe-eval'"]


@pytest.mark.parametrize("page", ["/", "/docs"])
def test_pages_come_with_the_policy_of_their_own_scripts(service: httpx.Client, page: str) -> None:
    answer = service.get(page)
    assert answer.headers["content-type"].startswith("text/html")
    said = answer.headers["content-security-policy"]
    assert said == policy(answer.content)
    assert "'unsafe-inline'" not in scripts_of(said)
    assert "'unsafe-eval'" not in scripts_of(said)
    assert "frame-ancestors 'none'" in said


@pytest.mark.parametrize("path", ["/v1/models", "/openapi.json", "/studio/none"])
def test_what_is_no_page_has_none(service: httpx.Client, path: str) -> None:
    assert "content-security-policy" not in service.get(path).headers
