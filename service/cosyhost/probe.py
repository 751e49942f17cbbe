"""One sentence through web, queue and worker: the proof that a release serves."""

from __future__ import annotations

import base64
import http.client
import io
import json
import time
from typing import Any

import numpy as np
import soundfile

from cosyhost import audio
from cosyhost.audio.sample import SENTENCE, sample_prompt
from cosyhost.config import Config
from cosyhost.errors import MODE_UNAVAILABLE, PROBE_FAILED, Problem
from cosyhost.jobs import ENDED

# The prompt is no speech, so the mode that needs none comes first; not every engine has it.
MODES = ("cross_lingual", "zero_shot")
_LOOK_S = 0.25
_ANSWER_TIMEOUT_S = 30
# Samples of speech reach about 1; dither and a dead decoder stay far below this.
_SILENCE = 0.01


def probe(config: Config, ready_s: float) -> str:
    """Wait at most `ready_s` seconds until the service is ready, then let it speak a sentence.

    The sentence waits its turn behind users' jobs: there is time as long as the queue moves, and a
    job's time limit beside `ready_s` while it does not. Returns one line that says what was heard.

    Raises:
        Problem: PROBE_FAILED.
    """
    web = _Web(config.web.listen, config.web.port)
    _until_ready(web, ready_s)
    job = _submit(web, ready_s + config.jobs.time_limit_s)
    began = time.monotonic()
    _until_spoken(web, job, ready_s + config.jobs.time_limit_s)
    status, sound = web.ask("GET", f"/v1/jobs/{job}/audio")
    if status != 200:
        raise _failed(f"the job is done, its audio answers {status}")
    samples, sample_rate = soundfile.read(io.BytesIO(sound))
    # A sign of tones would be heard where the engine is mute.
    samples = audio.without(samples, sample_rate, config.label.audible_mark)
    if not len(samples) or np.abs(samples).max() < _SILENCE:
        raise _failed("the sentence is silence")
    return (
        f"{len(samples) / sample_rate:.1f} s of speech, {time.monotonic() - began:.1f} s after "
        "the request"
    )


class _Web:
    """The web process, asked directly."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Status and body; status 0 when nobody answers."""
        client = http.client.HTTPConnection(self._host, self._port, timeout=_ANSWER_TIMEOUT_S)
        data = None if body is None else json.dumps(body)
        try:
            client.request(method, path, data, {"Content-Type": "application/json"})
            answer = client.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error).encode()
        finally:
            client.close()


def _until_ready(web: _Web, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        status, said = web.ask("GET", "/readyz")
        if status == 200:
            return
        if time.monotonic() > deadline:
            raise _failed(f"not ready after {patience_s:g} s: {status} {_text(said)}")
        time.sleep(_LOOK_S)


def _submit(web: _Web, patience_s: float) -> str:
    """Queue the sentence; a full queue is waited for."""
    prompt = "data:audio/wav;base64," + base64.b64encode(sample_prompt()).decode()
    modes, deadline = list(MODES), time.monotonic() + patience_s
    while True:
        body = {
            "input": SENTENCE,
            "mode": modes[0],
            "ref_audio": prompt,
            "ref_text": "啊。",
            "seed": 1,
            "consent": "cosyhost probe: nobody's voice",
        }
        status, said = web.ask("POST", "/v1/jobs", body)
        if status == 202:
            return str(json.loads(said)["id"])
        if modes[1:] and (status in (400, 422) or MODE_UNAVAILABLE.code.encode() in said):
            modes.pop(0)
        elif time.monotonic() > deadline or status not in (0, 429, 503):
            raise _failed(f"the sentence is refused: {status} {_text(said)}")
        else:
            time.sleep(_LOOK_S)


def _until_spoken(web: _Web, job: str, patience_s: float) -> None:
    """Follow the job to its end; patience counts from the last thing that moved."""
    seen: Any = None
    moved = time.monotonic()
    while True:
        status, said = web.ask("GET", f"/v1/jobs/{job}")
        document = json.loads(said) if status == 200 else {"state": f"{status}"}
        if document["state"] == "done":
            return
        if document["state"] in ENDED:
            raise _failed(f"the sentence ended as {document['state']}: {document.get('problem')}")
        now = (document["state"], document.get("position"), document.get("spoken_s"))
        if now != seen:
            seen, moved = now, time.monotonic()
        if time.monotonic() - moved > patience_s:
            web.ask("DELETE", f"/v1/jobs/{job}")
            raise _failed(f"nothing moved for {patience_s:g} s, the sentence is {now[0]}")
        time.sleep(_LOOK_S)


def _text(said: bytes) -> str:
    return said.decode(errors="replace")[:500]


def _failed(reason: str) -> Problem:
    return Problem(PROBE_FAILED, reason=reason)
