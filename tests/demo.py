"""`make demo`: a bare host of the testbed becomes the demo tier, and speaks."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests import prompts
from tests.testbed import Host, Settings, Testbed, TestbedError, wheelhouse

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "demo"
HOST, SUITE, VOICE = "voice-demo", "bookworm", "demo"
LOCKS = [ROOT / "files" / "requirements" / f"{name}.txt" for name in ("web", "worker", "exporter")]


def _testbed() -> Testbed:
    """A testbed of its own, so that tests and demo do not meet."""
    os.environ.setdefault("COSYHOST_TESTBED", "demo")
    return Testbed(Settings.from_env())


def up() -> Host:
    """Boot the host, provision it, store a voice, print the URL."""
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"[{time.monotonic() - began:5.1f} s] {what}", flush=True)

    bed = _testbed()
    say(f"the testbed: {SUITE} image and the wheels of the service")
    bed.build(SUITE)
    wheelhouse.ensure(bed.settings, SUITE, LOCKS)
    hosts = {host.name: host for host in bed.hosts()}
    host = hosts.get(HOST) or bed.up(HOST, suite=SUITE)
    host.power_on()  # where this machine was switched off since
    say(f"a bare host: {host.ip}")
    BUILD.mkdir(parents=True, exist_ok=True)
    inventory = bed.write_inventory(BUILD / "hosts.yml", names=[HOST])
    say("provisioning it with playbooks/site.yml, tier demo")
    playbook = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", "inventories/demo"]
    playbook += ["-i", str(inventory), "playbooks/site.yml"]
    if subprocess.run(playbook, cwd=ROOT, check=False).returncode:
        raise SystemExit("demo: provisioning failed; the task above says why")
    url = f"http://{host.ip}"
    _store_voice(url)
    say("ready")
    print(f"""
The studio:  {url}/
The API:     {url}/docs
A sentence:  curl -sS {url}/v1/audio/speech -H 'Content-Type: application/json' \
-d '{{"input": "你好，世界。Hello, world.", "voice": "{VOICE}"}}' -o hello.wav
The host:    python -m tests.testbed ssh {HOST}   (COSYHOST_TESTBED=demo)
The end:     make down

This is the preview engine (espeak-ng): it follows the pitch of a prompt and clones no voice.""")
    return host


def _store_voice(url: str) -> None:
    with httpx.Client(base_url=url, timeout=30) as client:
        if VOICE in client.get("/v1/audio/voices").json()["voices"]:
            return
        fields = {"name": VOICE, "ref_text": prompts.TRANSCRIPT, "consent": "made for the demo"}
        files = {"audio_sample": ("prompt.wav", prompts.good())}
        client.post("/v1/audio/voices", data=fields, files=files).raise_for_status()


def down() -> None:
    """Remove the demo's host."""
    _testbed().clean()


def main() -> int:
    """`python -m tests.demo up|down`."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("verb", choices=["up", "down"])
    try:
        if parser.parse_args().verb == "up":
            up()
        else:
            down()
    except TestbedError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
