"""Runs on the audited host: one HTTP request as told, the response as JSON.

Nothing but the standard library, as Python 3.10 has it.
"""

import array
import base64
import contextlib
import http.client
import io
import json
import math
import socket
import ssl
import sys
import time
import wave
from typing import Any

RATE = 24000


def prompt(seconds: float) -> str:
    """A voice-like sound: harmonics that rise and fall like syllables."""
    samples = array.array("h")
    for i in range(int(seconds * RATE)):
        t = i / RATE
        pitch = 2 * math.pi * 130 * t
        loudness = 9000 * (0.15 + abs(math.sin(2 * math.pi * 2 * t)))
        samples.append(int(loudness * (math.sin(pitch) + 0.5 * math.sin(2 * pitch)) / 1.5))
    out = io.BytesIO()
    with wave.open(out, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(RATE)
        wav.writeframes(samples.tobytes())
    return "data:audio/wav;base64," + base64.b64encode(out.getvalue()).decode()


def ask(order: dict[str, Any]) -> dict[str, Any]:
    """The request and what came back."""
    headers, body = dict(order["headers"]), None
    if order.get("prompt_s"):
        order["json"]["ref_audio"] = prompt(order["prompt_s"])
    if order.get("json") is not None:
        body = json.dumps(order["json"]).encode()
        headers["Content-Type"] = "application/json"
    if order.get("zeros"):
        body = bytes(order["zeros"])
        headers.setdefault("Content-Type", "application/octet-stream")
    began = time.monotonic()
    connection = http.client.HTTPConnection(order["address"], order["port"], timeout=60)
    if order["name"]:  # the certificate is for those who come by name, the address is of here
        context = ssl.create_default_context(cafile=order["ca"] or None)
        line = socket.create_connection((order["address"], order["port"]), timeout=60)
        connection.sock = context.wrap_socket(line, server_hostname=order["name"])
    # Refused before all was sent: the reason is waiting.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request(order["method"], order["path"], body, headers)
    response = connection.getresponse()
    parts: list[bytes] = []
    first = time.monotonic() - began
    while not order.get("head_only"):
        part = response.read1(65536)
        if not part:
            break
        first = first if parts else time.monotonic() - began
        parts.append(part)
    data = b"".join(parts)
    return {
        "status": response.status,
        "headers": {name.lower(): value for name, value in response.getheaders()},
        "body": base64.b64encode(data).decode(),
        "first_byte_s": round(first, 3),
        "seconds": round(time.monotonic() - began, 3),
        "reads": len(parts),
    }


if __name__ == "__main__":
    print(json.dumps(ask(json.loads(sys.argv[1]))))
