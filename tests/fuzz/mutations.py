"""Damage to bytes: what a broken disk, a bad cable or an ill-willed peer makes of them."""

from __future__ import annotations

import random

INTERESTING = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"-1",
    b"1e999",
    b"null",
    b"[]",
    b"{}",
    b"\xc1",
    b"\xdf\xff\xff\xff\xff",
)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """`data` with one to eight changes."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(changed) + 1)
        match chance.randrange(7):
            case 0 if changed:
                changed[min(place, len(changed) - 1)] ^= 1 << chance.randrange(8)
            case 1:
                del changed[place : place + chance.randint(1, 16)]
            case 2:
                changed[place:place] = chance.choice(INTERESTING)
            case 3:
                changed[place:place] = changed[place : place + chance.randint(1, 64)]
            case 4:
                changed[place : place + chance.randint(1, 8)] = chance.randbytes(chance.randint(1, 8))
            case 5:
                del changed[place:]
            case _:
                other = chance.randrange(len(changed) + 1)
                changed[place : place + 4], changed[other : other + 4] = (
                    changed[other : other + 4],
                    changed[place : place + 4],
                )
    return bytes(changed)
