"""Secrets are found in variables and in credential files, and nowhere else."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from types import SimpleNamespace

from tests.audit.report.collector import Collector
from tests.audit.report.redaction import Redactor


def known(values: dict[str, object]) -> Redactor:
    """A redactor that was given a host's variables."""
    found = Redactor()
    found.add_variables(values)
    return found


def test_secrets_of_variables_are_taken_out_and_the_rest_stays() -> None:
    values = {
        "redis_password": "queue-password-1",
        "service_redis_password": "queue-password-1",
        "redis_secure_logging": True,
        "alertmanager_webhooks": ["https://hook.test/services/T00/B00/XXXX"],
        "alertmanager_email": {"to": "ops@client.test", "smarthost": "mx:25", "password": "m4il"},
        "alertmanager_bots": [
            {"kind": "dingtalk", "url": "https://bot.test/send?access_token=abcdef123456789",
             "secret": "SECabc"},
        ],
        "edge_server_name": "voice.client.test",
        "model_location": "https://user:hidden99@mirror.test/model",
        "ansible_become_pass": 12345678,
    }  # fmt: skip
    clean = known(values).clean
    for secret in (
        "queue-password-1", "https://hook.test/services/T00/B00/XXXX", "m4il", "SECabc",
        "abcdef123456789", "hidden99", "12345678",
    ):  # fmt: skip
        assert secret not in clean(f"before {secret} after"), secret
    for plain in ("ops@client.test", "mx:25", "dingtalk", "voice.client.test", "True"):
        assert clean(plain) == plain


def test_a_secret_that_is_part_of_another_leaves_nothing_of_it() -> None:
    clean = known({"a_password": "abcdef", "b_password": "abcdefghij"}).clean
    assert clean("abcdefghij") == "[redacted]"


def test_without_secrets_nothing_changes() -> None:
    assert Redactor().clean("a text") == "a text"


def test_secrets_that_only_the_host_knows_are_taken_out(tmp_path: Path) -> None:
    """A password that was changed by hand, a JSON credential, a file of settings, a key."""
    held = [
        "changed-by-hand-1\n",
        json.dumps({"redis://127.0.0.1:6380": "in-a-json-file-1"}),
        "AWS_SECRET_ACCESS_KEY=of-the-bucket-12\n",
        "-----BEGIN KEY-----\nb64lineoneofakey0\nb64linetwoofakey0\n-----END KEY-----\n",
    ]
    lines = ["system=Debian 12", "nginx=1.22"]
    lines += [f"credential={b64encode(one.encode()).decode()}" for one in held]
    backend = SimpleNamespace(run=lambda *_: None)
    host = SimpleNamespace(backend=backend, run=lambda _: SimpleNamespace(stdout="\n".join(lines)))
    found = Collector(tmp_path)
    found.watch("voice", host)
    for secret in (
        "changed-by-hand-1", "in-a-json-file-1", "of-the-bucket-12", "b64linetwoofakey0",
    ):  # fmt: skip
        assert found.redactor.clean(f"x {secret} y") == "x [redacted] y"
