"""A long text is split, spoken in parts and joined: nothing is lost, and no seam is heard."""

from __future__ import annotations

import httpx
import numpy as np
import numpy.typing as npt

from cosyhost import text
from tests.unit.service.test_api import wish

LONG = "今天天气很好，我们一起去公园散步吧。The park is two streets away. " * 8
# A step of one percent of full scale between two samples; speech itself steps by up to a fifth.
CLICK = 0.01 * 32768


def spoken(service: httpx.Client, words: str) -> npt.NDArray[np.int32]:
    answer = service.post("/v1/audio/speech", json=wish(input=words, response_format="pcm"))
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<i2").astype(np.int32)


def test_the_parts_are_joined_without_loss_and_without_clicks(service: httpx.Client) -> None:
    parts = list(text.split(LONG))
    assert len(parts) > 10
    whole = spoken(service, LONG)
    alone = {part: spoken(service, part) for part in set(parts)}
    at, seams = 0, []
    for part in parts:
        sound = alone[part]
        begin = at
        # Between two parts there is silence, as between two sentences.
        while at < len(whole) and not np.array_equal(whole[at : at + len(sound)], sound):
            assert whole[at] == 0, f"something else than silence {at - begin} samples after a part"
            at += 1
        seams += [begin, at]
        at += len(sound)
    assert at == len(whole)
    for seam in seams[2:]:
        assert abs(whole[seam] - whole[seam - 1]) < CLICK
