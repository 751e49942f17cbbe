"""What Prometheus is told about this host: `cosyhost exporter`."""

from __future__ import annotations

import socket
import threading

from cosyhost.errors import EXPORTER_BROKEN, Problem
from cosyhost.exporter.collectors import Collectors
from cosyhost.exporter.server import Server
from cosyhost.host_config import HostConfig
from cosyhost.systemd import notify

_CHECK_TIMEOUT_S = 20


def serve(settings: HostConfig) -> None:
    """Serve until told to stop.

    Raises:
        Problem: EXPORTER_ADDRESS.
    """
    server = Server(Collectors(settings).text, settings.server.listen, settings.server.port)
    notify("READY=1")
    server.run()


def check(settings: HostConfig) -> str:
    """Start beside a running one, on a free port, fetch the metrics once; one line about them.

    Raises:
        Problem: EXPORTER_BROKEN, when they do not come or a part of them is missing.
    """
    server = Server(Collectors(settings).text, "127.0.0.1", 0)
    threading.Thread(target=server.run, daemon=True).start()
    try:
        text = _fetched(server.port)
    except OSError as error:
        raise Problem(EXPORTER_BROKEN, reason=str(error)) from None
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    failed = [line for line in lines if line.startswith("cosyhost_exporter_collector_up{")]
    failed = [line.split('"')[1] for line in failed if not line.endswith(" 1")]
    if failed or not lines:
        raise Problem(EXPORTER_BROKEN, reason=f"no metrics of {', '.join(failed) or 'any part'}")
    return f"exporter: {len(lines)} series"


def _fetched(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=_CHECK_TIMEOUT_S) as asker:
        asker.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: asker.recv(65536), b""))
    head, _, body = answer.decode().partition("\r\n\r\n")
    if " 200 " not in head.partition("\r\n")[0]:
        raise OSError(f"it answered {head.partition(chr(13))[0]!r}")
    return body
