"""Messages: what goes in comes out, and anything else is refused."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f2pnet.inspection.result import InspectionResult, Verdict
from pipeline.wire.messages import WIRE_VERSION, Acks, BadMessage, Bye, Judged, Verdicts, decode, encode


def verdicts() -> Verdicts:
    result = InspectionResult(verdict=Verdict.NG, frame_id="cam1/run/000001", score=0.5, seq=1)
    return Verdicts(items=[Judged(result=result, captured_mono_ns=1, judged_mono_ns=2, has_picture=True)])


def test_what_is_encoded_is_decoded() -> None:
    acks = Acks(run_id="r", stored=[(1, Verdict.OK, None), (2, Verdict.NOT_INSPECTED, "deadline")])
    for message in (verdicts(), acks, Bye(worker="w", incarnation="i")):
        assert decode(encode(message)) == message


def test_another_version_is_refused_by_name() -> None:
    with pytest.raises(BadMessage, match="version"):
        decode(bytes((WIRE_VERSION + 1,)) + encode(verdicts())[1:])


def test_a_wrong_type_is_refused_and_carries_the_bytes() -> None:
    data = bytes((WIRE_VERSION,)) + msgspec.msgpack.encode({"type": "Bye", "worker": 5, "incarnation": "i"})
    with pytest.raises(BadMessage) as refused:
        decode(data)
    assert refused.value.data == data


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_a_bad_message(data: bytes) -> None:
    with contextlib.suppress(BadMessage):
        assert decode(data).__struct_config__.frozen


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=255))
def test_a_changed_byte_never_raises_anything_but_bad_message(position: int, value: int) -> None:
    data = bytearray(encode(verdicts()))
    data[position % len(data)] = value
    with contextlib.suppress(BadMessage):
        assert decode(bytes(data)).__struct_config__.frozen
