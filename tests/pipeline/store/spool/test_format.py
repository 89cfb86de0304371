from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from f2pnet.inspection.result import Verdict
from pipeline.store.records import Record
from pipeline.store.spool.format import decode, encode, extents


def record(seq: int, data: bytes) -> Record:
    return Record(
        frame_id=f"c/r/{seq}", camera_id="c", run_id="r", seq=seq, verdict=Verdict.NG, captured_at_ns=0, data=data
    )


payloads = st.lists(st.binary(max_size=60), min_size=1, max_size=8)


@settings(deadline=None)  # a busy machine is not a failure
@given(payloads)
def test_whole_records_come_back_as_they_were(contents: list[bytes]) -> None:
    records = [record(seq, content) for seq, content in enumerate(contents)]
    data = b"".join(map(encode, records))

    found = list(extents(data))

    assert all(extent.whole for extent in found)
    assert [decode(data[extent.start : extent.end]) for extent in found] == records


@settings(deadline=None)  # a busy machine is not a failure
@given(payloads, st.data())
def test_damage_anywhere_costs_only_the_records_it_touches(contents: list[bytes], draw: st.DataObject) -> None:
    records = [record(seq, content) for seq, content in enumerate(contents)]
    data = bytearray(b"".join(map(encode, records)))
    position = draw.draw(st.integers(0, len(data) - 1))
    data[position] ^= draw.draw(st.integers(1, 255))

    found = list(extents(bytes(data)))

    kept = [decode(bytes(data[extent.start : extent.end])) for extent in found if extent.whole]
    assert len(kept) == len(records) - 1
    assert all(any(one == other for other in records) for one in kept)
    (damaged,) = [extent for extent in found if not extent.whole]
    assert damaged.start <= position < damaged.end


@settings(deadline=None)  # a busy machine is not a failure
@given(st.binary(max_size=400))
def test_bytes_of_any_kind_are_divided_without_gap_or_overlap(data: bytes) -> None:
    end = 0
    for extent in extents(data):
        assert extent.start == end
        assert extent.end > extent.start
        end = extent.end

    assert end == len(data)
