"""A real S3 server (moto's, in memory) as a process of its own, with one bucket."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import httpx

BUCKET = "cosyhost"
KEY_ID, SECRET = "AKIDEXAMPLE", "aSecretOfTheTestsOnly"


class Server:
    """The server at `endpoint`; what it holds is lost with its process."""

    def __init__(self, host: str, port: int) -> None:
        self.endpoint = f"http://{host}:{port}"
        self._listen = ("-H", host, "-p", str(port))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and make the bucket."""
        command = [sys.executable, "-m", "moto.server", *self._listen]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.put(f"{self.endpoint}/{BUCKET}").raise_for_status()
            except httpx.TransportError:
                assert self._process.poll() is None, "the S3 server ended"
                assert time.monotonic() < deadline, "no S3 server after 60 s"
                time.sleep(0.1)
            else:
                return

    def pause(self) -> None:
        """Let it answer nobody; its connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it; nobody listens any more."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)
