"""Random live ranges and damaged files for the tests."""

from __future__ import annotations

import random

from edgeai.footprint.live import LiveRange


def random_ranges(seed: int) -> tuple[LiveRange, ...]:
    """Buffers of a random network: sizes over four decades, some long-lived."""
    dice = random.Random(seed)
    length = dice.randrange(1, 60)
    found = []
    for i in range(dice.randrange(1, 60)):
        first = dice.randrange(length)
        reach = length if dice.random() < 0.1 else 4
        last = min(length - 1, first + dice.randrange(reach))
        found.append(LiveRange(i, f"t{i}", 1 + int(10 ** dice.uniform(0, 5.5)), first, last))
    return tuple(found)


def mutated(data: bytes, seed: int) -> bytes:
    """The file with a few bytes, words or stretches changed, cut off or repeated."""
    dice = random.Random(seed)
    body = bytearray(data)
    for _ in range(1 + dice.randrange(6)):
        at, how = dice.randrange(len(body)), dice.randrange(5)
        if how == 0:
            body[at] = dice.randrange(256)
        elif how == 1:
            body[at : at + 4] = dice.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000)).to_bytes(4, "little")
        elif how == 2:
            del body[at : at + dice.randrange(1, 64)]
        elif how == 3:
            body[at:at] = body[at : at + dice.randrange(1, 64)]
        elif dice.random() < 0.2:
            del body[at:]
        if not body:
            return b"\x08"
    # most structure stands at the ends of the files: hit it as often as the weights
    if dice.random() < 0.7:
        near = dice.randrange(min(2000, len(body)))
        body[near] = dice.randrange(256)
    return bytes(body)
