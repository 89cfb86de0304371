"""Label Studio's run lengths of brush strokes: a stream of bits, as the JavaScript library `rle-pack` writes them.

32 bits: how many values. 5 bits: bits of a value, less 1. Four times 4 bits: bits of a run's length, less 1. Then runs:
1 bit (1: one value repeated, 0: values one by one), 2 bits (which of the four lengths), the length less 1, the value or
values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def read(self, count: int) -> int:
        start, end = self._at, self._at + count
        if end > 8 * len(self._data):
            raise ValueError("brush that is cut off")
        self._at = end
        last = (end + 7) // 8
        return (int.from_bytes(self._data[start // 8 : last], "big") >> (8 * last - end)) & ((1 << count) - 1)


def decoded(data: Any, wanted: int) -> NDArray[np.uint8]:
    """The `wanted` values: red, green, blue and alpha of one pixel after the other. Raises ValueError where there are
    others, or the data are damaged."""
    if not isinstance(data, list) or not all(isinstance(byte, int) and 0 <= byte < 256 for byte in data):
        raise ValueError("brush that is no list of bytes")
    bits = _Bits(bytes(data))
    total, value_bits = bits.read(32), bits.read(5) + 1
    length_bits = [bits.read(4) + 1 for _ in range(4)]
    if total != wanted or value_bits > 8:
        raise ValueError(f"brush of {total} values of {value_bits} bits, wanted {wanted} bytes: four for each pixel")
    values = np.zeros(total, np.uint8)
    at = 0
    while at < total:
        repeated = bits.read(1)
        length = bits.read(length_bits[bits.read(2)]) + 1
        if at + length > total:
            raise ValueError("brush whose runs are longer than its image")
        if repeated:
            values[at : at + length] = bits.read(value_bits)
        else:
            values[at : at + length] = [bits.read(value_bits) for _ in range(length)]
        at += length
    return values
