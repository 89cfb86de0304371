"""Damage and gaps in H.264 and H.265 that FFmpeg's decoders pass over.

Both formats never hold three zero bytes inside a unit (emulation prevention, ITU-T H.264 and H.265, 7.4.1): zeros that
a broken copy left are noticed by that. H.264 also numbers its reference pictures (`frame_num`, 7.4.3), so a lost one is
noticed even where the decoder fills the gap with an older picture. H.265 names the pictures it refers to, and there
the decoder itself reports one that is missing.
"""

from __future__ import annotations

from collections.abc import Iterator

_START = b"\x00\x00\x01"
_NEVER_INSIDE = (b"\x00\x00\x00", b"\x00\x00\x02")  # a start code, which ends a unit, is the third one
_SLICE, _IDR_SLICE, _SPS, _PPS = 1, 5, 7, 8  # nal_unit_type, H.264 table 7-1
_HEAD_BYTES = 64  # of a slice: its header begins within
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})


class Bits:
    """Reads the bits of a unit, with its emulation prevention bytes taken out."""

    def __init__(self, unit: bytes) -> None:
        payload = unit.replace(b"\x00\x00\x03", b"\x00\x00")
        self._bits, self._left = int.from_bytes(payload, "big"), 8 * len(payload)

    def u(self, count: int) -> int:
        """`count` bits as an unsigned number. Raises EOFError."""
        if count > self._left:
            raise EOFError
        self._left -= count
        return self._bits >> self._left & (1 << count) - 1

    def ue(self) -> int:
        """An unsigned Exp-Golomb number."""
        zeros = 0
        while self.u(1) == 0:
            zeros += 1
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        """A signed Exp-Golomb number."""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)


class BitstreamCheck:
    """Looks at the packets of one stream in decoding order. `extradata`: the parameter sets that the container has."""

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        self._length_bytes = _length_bytes(codec, extradata or b"")
        self._numbers = _FrameNumbers() if codec == "h264" else None
        if self._numbers is not None:
            for unit in _parameter_sets(extradata or b"", bool(self._length_bytes)):
                self._numbers.unit(unit)

    def problem(self, packet: bytes) -> str | None:
        """What is wrong with the packet, or missing before it; None: nothing that can be seen here."""
        has_gap = False
        try:
            for unit in _units(packet, self._length_bytes):
                if any(pattern in unit for pattern in _NEVER_INSIDE):
                    return "the packet is damaged: it holds bytes that the format rules out"
                if self._numbers is not None:
                    has_gap = self._numbers.unit(unit) or has_gap
        except ValueError as error:
            return f"the packet is damaged: {error}"
        return "a picture before this one is lost" if has_gap else None


class _FrameNumbers:
    """Follows `frame_num` of H.264."""

    def __init__(self) -> None:
        self._sets: dict[int, tuple[int, bool, bool]] = {}  # (bits of frame_num, gaps allowed, separate planes) by SPS
        self._set_of: dict[int, int] = {}  # SPS by PPS
        self._last_reference: int | None = None

    def unit(self, unit: bytes) -> bool:
        """Whether the unit begins a picture before which a reference picture is missing."""
        kind = unit[0] & 31 if unit else 0
        try:
            if kind == _SPS:
                self._sequence(Bits(unit[1:]))
            elif kind == _PPS:
                bits = Bits(unit[1:_HEAD_BYTES])
                self._set_of[bits.ue()] = bits.ue()
            elif kind in (_SLICE, _IDR_SLICE):
                is_reference = bool(unit[0] & 96)  # nal_ref_idc
                return self._slice(Bits(unit[1:_HEAD_BYTES]), is_idr=kind == _IDR_SLICE, is_reference=is_reference)
        except EOFError:
            return False  # the decoder says what is wrong with it
        return False

    def _slice(self, bits: Bits, *, is_idr: bool, is_reference: bool) -> bool:
        bits.ue()  # first_mb_in_slice
        bits.ue()  # slice_type
        known = self._sets.get(self._set_of.get(bits.ue(), -1))
        if known is None:
            return False
        number_bits, gaps_allowed, separate_planes = known
        if separate_planes:
            bits.u(2)
        number, last = bits.u(number_bits), self._last_reference
        if is_reference:
            self._last_reference = number
        if is_idr or last is None or gaps_allowed:
            return False
        return number not in (last, (last + 1) % (1 << number_bits))

    def _sequence(self, bits: Bits) -> None:
        """Read a sequence parameter set up to `gaps_in_frame_num_value_allowed_flag` (7.3.2.1.1)."""
        profile = bits.u(8)
        bits.u(16)
        identity = bits.ue()
        separate_planes = False
        if profile in _HIGH_PROFILES:
            chroma = bits.ue()
            separate_planes = chroma == 3 and bool(bits.u(1))
            bits.ue()  # bit_depth_luma_minus8
            bits.ue()  # bit_depth_chroma_minus8
            bits.u(1)
            if bits.u(1):
                for index in range(12 if chroma == 3 else 8):
                    if bits.u(1):
                        _skip_scaling_list(bits, 16 if index < 6 else 64)
        number_bits = bits.ue() + 4
        order_type = bits.ue()
        if order_type == 0:
            bits.ue()
        elif order_type == 1:
            bits.u(1)
            bits.se()
            bits.se()
            for _ in range(bits.ue()):
                bits.se()
        bits.ue()  # max_num_ref_frames
        self._sets[identity] = (number_bits, bool(bits.u(1)), separate_planes)


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _units(packet: bytes, length_bytes: int) -> Iterator[bytes]:
    """The units of a packet; with `length_bytes` each has its length before it, else start codes divide them.

    Raises ValueError where the lengths don't fit.
    """
    if not length_bytes:
        pieces = packet.split(_START)
        yield from (piece.rstrip(b"\x00") for piece in pieces[1:])
        return
    at = 0
    while at < len(packet):
        end = at + length_bytes + int.from_bytes(packet[at : at + length_bytes], "big")
        if end > len(packet):
            raise ValueError(f"a unit ends {end - len(packet)} bytes behind it")
        yield packet[at + length_bytes : end].rstrip(b"\x00")
        at = end


def _length_bytes(codec: str, extradata: bytes) -> int:
    """How many bytes a unit's length takes (ISO/IEC 14496-15); 0: start codes divide the units."""
    if not extradata or extradata.startswith((_START, b"\x00" + _START)):
        return 0
    if codec == "h264":
        return (extradata[4] & 3) + 1 if len(extradata) > 4 else 0
    return (extradata[21] & 3) + 1 if len(extradata) > 21 else 0


def _parameter_sets(extradata: bytes, has_lengths: bool) -> Iterator[bytes]:
    """The parameter sets of H.264 in a stream's extradata, in either form."""
    if not has_lengths:
        yield from _units(extradata, 0)
        return
    at = 5
    for count_mask in (31, 255):
        count, at = extradata[at] & count_mask if at < len(extradata) else 0, at + 1
        for _ in range(count):
            size = int.from_bytes(extradata[at : at + 2], "big")
            yield extradata[at + 2 : at + 2 + size]
            at += 2 + size
