"""Wrong inputs made from right ones."""

from __future__ import annotations

import random
import struct

_EDGES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_NEAR_THE_HEAD = 600


def mutated(rng: random.Random, seeds: list[bytes]) -> bytes:
    """One of the seeds with one to eight changes, most of them in its head."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(1, 8)):
        reach = len(data) if rng.random() < 0.3 else min(len(data), _NEAR_THE_HEAD)
        at = rng.randrange(reach) if reach else 0
        match rng.randrange(7):
            case 0:
                data[at : at + 1] = rng.randbytes(1)
            case 1:
                data[at : at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(_EDGES))
            case 2:
                del data[at : at + rng.choice((1, 2, 4, 30, 2000))]
            case 3:
                data[at:at] = rng.randbytes(rng.choice((1, 4, 40)))
            case 4:
                data[at:at] = data[at : at + rng.choice((4, 8, 64, 500))]
            case 5:
                del data[rng.randrange(len(data) + 1) :]
            case _:
                other = rng.choice(seeds)
                data[at:] = other[rng.randrange(len(other)) :]
    return bytes(data)
