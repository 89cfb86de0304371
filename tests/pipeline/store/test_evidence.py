from __future__ import annotations

import os
import time
from pathlib import Path

from f2pnet.inspection.result import InspectionResult, Verdict
from pipeline.store.evidence import EvidenceStore

NOON_NS = 1_795_435_200_123_000_000  # 2026-11-23T12:00:00.123Z
KB = 1024


def result(seq: int, verdict: Verdict = Verdict.NG) -> InspectionResult:
    return InspectionResult(
        frame_id=f"cam1/run7/{seq:06d}", camera_id="cam1", seq=seq, verdict=verdict, captured_at_ns=NOON_NS
    )


def pictures(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.jpg"))


def test_a_picture_lies_under_its_day_and_camera(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path / "evidence", 1)

    saved = store.save(result(42), b"jpeg bytes")

    assert saved == "evidence/2026-11-23/cam1/120000.123_run7_000042_NG.jpg"
    assert (tmp_path / saved).read_bytes() == b"jpeg bytes"


def test_the_oldest_pictures_make_room_for_new_ones(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, 1)

    for seq in range(15):
        store.save(result(seq), bytes(100 * KB))

    assert store.bytes_used <= 1024 * KB
    assert store.deleted == 5
    assert [name.split("_")[2] for name in pictures(tmp_path)] == [f"{seq:06d}" for seq in range(5, 15)]


def test_pictures_of_an_earlier_run_count_towards_the_bound(tmp_path: Path) -> None:
    first = EvidenceStore(tmp_path, 1)
    for seq in range(10):
        first.save(result(seq), bytes(100 * KB))

    second = EvidenceStore(tmp_path, 1)
    second.save(result(10), bytes(100 * KB))

    assert second.deleted == 1
    assert len(pictures(tmp_path)) == 10


def test_the_same_result_saved_again_counts_once(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, 1)

    assert store.save(result(1), bytes(10 * KB)) == store.save(result(1), bytes(10 * KB))
    assert store.bytes_used == 10 * KB


def test_a_disk_that_refuses_is_counted_and_does_not_stop_the_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = EvidenceStore(tmp_path / "file" / "evidence", 1)

    assert store.save(result(1), b"x") is None
    assert store.failed == 1


def test_a_picture_larger_than_the_bound_deletes_nothing(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, 1)
    store.save(result(1), bytes(10 * KB))

    assert store.save(result(2), bytes(2048 * KB)) is None
    assert len(pictures(tmp_path)) == 1


def test_what_an_interrupted_save_left_is_removed(tmp_path: Path) -> None:
    leftover = tmp_path / "2026-11-23" / "cam1" / "120000.123_run7_000001_NG.part"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")

    EvidenceStore(tmp_path, 1)

    assert not leftover.exists()


def test_emptied_folders_go_with_their_pictures(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, 1)
    store.save(result(1), bytes(1000 * KB))
    tomorrow = InspectionResult(frame_id="cam2/r/000001", verdict=Verdict.NG, captured_at_ns=NOON_NS + 86_400 * 10**9)

    store.save(tomorrow, bytes(1000 * KB))

    assert [path.name for path in tmp_path.iterdir()] == ["2026-11-24"]


def test_pictures_are_kept_by_count(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path / "evidence", 10, max_count=3)
    for seq in range(5):
        store.save(result(seq), b"picture")
    assert [name.split("_")[2] for name in pictures(tmp_path)] == ["000002", "000003", "000004"]
    assert store.deleted == 2
    EvidenceStore(tmp_path / "evidence", 10, max_count=1).expire()
    assert len(pictures(tmp_path)) == 1


def test_pictures_are_kept_by_age_also_when_nothing_new_comes(tmp_path: Path) -> None:
    now_s = [time.time()]
    store = EvidenceStore(tmp_path / "evidence", 10, max_age_days=2, clock=lambda: now_s[0])
    store.save(result(0), b"picture")
    now_s[0] += 86_400
    store.save(result(1), b"picture")
    now_s[0] += 1.5 * 86_400
    store.expire()
    assert [name.split("_")[2] for name in pictures(tmp_path)] == ["000001"]
    (left,) = tmp_path.rglob("*.jpg")
    os.utime(left, (0, 0))
    EvidenceStore(tmp_path / "evidence", 10, max_age_days=2).expire()  # found again after a restart
    assert pictures(tmp_path) == []
