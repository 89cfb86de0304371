"""Few-shot lists: which images a run with 1, 4, 16, 32 or 64 labelled images learns from."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from training.data.records import Record

SHOTS = (1, 4, 16, 32, 64)
GOOD_SHARE = 1 / 12
"""About the share of good images in the published 64-shot lists of MT (5 of 64) and KolektorSDD2 (7 of 64)."""


def few_shot_lists(records: Sequence[Record], seed: int, shots: Sequence[int] = SHOTS) -> dict[str, list[str]]:
    """Ids for each number of shots that the records suffice for; each list holds the shorter ones.

    Classes take turns, so that a rare one is there early; within a class, parts take turns, so that no part is seen
    twice before every other was seen once. Good images are the twelfth, but never the first.
    """
    rng = random.Random(seed)
    queues = {name: _parts_in_turn(kept, rng) for name, kept in sorted(_by_class(records).items())}
    drawn = [record.id for record in _in_turn(queues, [r for r in records if r.label == 0], rng)]
    return {str(count): drawn[:count] for count in shots if count <= len(drawn)}


def _in_turn(queues: dict[str, list[Record]], good: Sequence[Record], rng: random.Random) -> list[Record]:
    free = _parts_in_turn(good, rng)
    names = list(queues)
    rng.shuffle(names)
    drawn: list[Record] = []
    goods = 0
    while any(queues.values()):
        for name in names:
            if free and goods < int(GOOD_SHARE * (len(drawn) + 1)):
                drawn.append(free.pop(0))
                goods += 1
            if queues[name]:
                drawn.append(queues[name].pop(0))
    return drawn


def _by_class(records: Sequence[Record]) -> dict[str, list[Record]]:
    classes = defaultdict(list)
    for record in records:
        if record.label:
            classes[record.class_name].append(record)
    return classes


def _parts_in_turn(records: Sequence[Record], rng: random.Random) -> list[Record]:
    parts = defaultdict(list)
    for record in records:
        parts[record.part_id].append(record)
    order = sorted(parts)
    rng.shuffle(order)
    rounds = max((len(kept) for kept in parts.values()), default=0)
    return [parts[part][number] for number in range(rounds) for part in order if number < len(parts[part])]
