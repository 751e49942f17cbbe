"""First audio of a preview synthesis through nginx, beside espeak-ng called alone on that host.

Run it on an idle machine: `make bench BENCH=speech`. It uses the host of `make demo`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time

import httpx

from tests import demo

TEXT = (
    "收到好友从远方寄来的生日礼物，那份意外的惊喜与深深的祝福，"
    "让我心中充满了甜蜜的快乐，笑容如花儿般绽放。今天真的非常开心。"
)
RUNS = 20


def first_audio_s(client: httpx.Client) -> float:
    """Seconds from sending the request to the first byte of sound (the WAV header is not it)."""
    began = time.monotonic()
    body = {"input": TEXT, "voice": demo.VOICE, "response_format": "pcm"}
    with client.stream("POST", "/v1/audio/speech", json=body) as response:
        response.raise_for_status()
        sound = response.iter_raw()
        next(sound)
        first = time.monotonic() - began
        for _ in sound:
            pass
    return first


def alone_s() -> float:
    """Seconds until espeak-ng called directly has written its first sound on this machine."""
    command = ["espeak-ng", "--stdin", "--stdout", "-v", "cmn"]
    began = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(TEXT.encode())
        child.stdin.close()
        child.stdout.read(44 + 2)
        first = time.monotonic() - began
        child.stdout.read()
    return first


def main() -> None:
    """Measure, print a line per figure, and one JSON line last."""
    host = demo.up()
    with httpx.Client(base_url=f"http://{host.ip}", timeout=30) as client:
        first_audio_s(client)
        through, alone = [], []
        for _ in range(RUNS):
            through.append(first_audio_s(client))
            alone.append(alone_s())
            time.sleep(0.25)  # stays under the tier's rate limit
    figures = {
        "characters": len(TEXT),
        "first_audio_p50_s": round(statistics.median(through), 4),
        "first_audio_max_s": round(max(through), 4),
        "espeak_alone_p50_s": round(statistics.median(alone), 4),
        "overhead_p50_s": round(statistics.median(through) - statistics.median(alone), 4),
        "cores": os.cpu_count(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
