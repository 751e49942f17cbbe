"""The door's ports: who has them already is named, and other sites of the same nginx stay."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest

from tests.roles.conftest import ansible

DUMP = """# configuration file /etc/nginx/nginx.conf:
events {{ worker_connections 768; }} # listen {port};
# configuration file /etc/nginx/conf.d/cosyhost.conf:
server {{
    listen {port};
}}
# configuration file /etc/nginx/conf.d/theirs.conf:
server {{ listen [::]:{port} ipv6only=on; server_name theirs.lan; return 204; }}
# configuration file /etc/nginx/conf.d/elsewhere.conf:
server {{
    listen 127.0.0.1:1;
}}
"""


def look(programs: Path, **values: object) -> subprocess.CompletedProcess[str]:
    said = json.dumps({"programs": str(programs), **values})
    return ansible("ansible-playbook", "-i", "localhost,", "-e", said, "tests/roles/ports.yml")


@pytest.mark.parametrize("where", ["127.0.0.1", "0.0.0.0"])
def test_who_has_the_port_is_named(tmp_path: Path, where: str) -> None:
    with socket.create_server((where, 0)) as theirs:
        port = theirs.getsockname()[1]
        for door in (str(port), f"127.0.0.1:{port}"):
            ran = look(tmp_path, edge_listen=[door])
            assert ran.returncode == 2, ran.stdout + ran.stderr
            assert "[COSY-EDGE-PORT]" in ran.stdout
            assert f"{where}:{port} users:((" in " ".join(ran.stdout.split())
        free = look(tmp_path, edge_listen=[f"127.0.0.2:{port}"])
        assert (free.returncode == 0) == (where == "127.0.0.1"), free.stdout


def test_a_site_that_was_there_first_stays(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nginx = tmp_path / "nginx"  # what it prints is nginx's own; its sites are made up
    nginx.write_text(f"#!/bin/sh\ncat <<'END'\n{DUMP.format(port=port)}END\n", "utf-8")
    nginx.chmod(0o755)
    ran = look(tmp_path, edge_listen=[str(port)])
    assert ran.returncode == 2, ran.stdout + ran.stderr
    said = " ".join(ran.stdout.split())
    assert "[COSY-EDGE-SITE]" in said
    assert "at the same port: /etc/nginx/conf.d/theirs.conf. Say" in said
    named = look(tmp_path, edge_listen=[str(port)], edge_server_name="voice.lan")
    assert named.returncode == 0, named.stdout
    other = look(tmp_path, edge_listen=["127.0.0.1:9"])
    assert other.returncode == 0, other.stdout
