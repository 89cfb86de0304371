from __future__ import annotations

import pytest

from f2pnet.inspection.result import Verdict
from pipeline.store.records import Record


@pytest.mark.parametrize(("verdict", "seq"), [(Verdict.OK, None), (Verdict.NG, -1), (Verdict.FAULT, 3)])
def test_a_record_that_is_neither_a_frame_nor_a_fault_is_refused(verdict: Verdict, seq: int | None) -> None:
    with pytest.raises(ValueError, match="seq"):
        Record(frame_id="f", camera_id="c", run_id="r", seq=seq, verdict=verdict, captured_at_ns=0, data=b"")


@pytest.mark.parametrize(("verdict", "alert"), [("OK", False), ("NG", True), ("NOT_INSPECTED", True), ("FAULT", True)])
def test_everything_but_ok_is_an_alert(verdict: str, alert: bool) -> None:
    seq = None if verdict == "FAULT" else 0

    record = Record(
        frame_id="f", camera_id="c", run_id="r", seq=seq, verdict=Verdict(verdict), captured_at_ns=0, data=b""
    )

    assert record.is_alert is alert
