from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from f2pnet.errors import SpoolError
from f2pnet.inspection.result import Verdict
from pipeline.store.spool import spool as spool_module
from pipeline.store.records import Record
from pipeline.store.spool.spool import Damage, Removal, Spool, SpoolFull, waiting_in
from tests.small_disk import fill, mount_small_disk, unmount

REPOSITORY = Path(__file__).resolve().parents[4]
MB = 1024 * 1024
MakeFrame = Callable[..., Record]


def drain(spool: Spool, at_once: int = 7) -> list[int | None]:
    """The seqs of everything that waits, taken out in small steps."""
    seqs: list[int | None] = []
    while records := spool.peek(at_once):
        seqs += [record.seq for record in records]
        spool.commit(len(records))
    return seqs


def only_segment(folder: Path) -> Path:
    (path,) = folder.glob("*.spool")
    return path


def test_records_come_back_whole_and_in_order(tmp_path: Path, frame: MakeFrame) -> None:
    records = [frame(0, Verdict.NG), frame(1, Verdict.NOT_INSPECTED, "deadline"), frame(2)]
    spool = Spool(tmp_path, MB)

    spool.append(records[:2])
    spool.append(records[2:])

    assert len(spool) == 3
    assert spool.peek(10) == records


def test_what_was_appended_is_there_after_opening_again(tmp_path: Path, frame: MakeFrame) -> None:
    spool = Spool(tmp_path, MB)
    spool.append([frame(seq) for seq in range(20)])
    spool.peek(5)
    spool.commit(5)
    spool.close()

    again = Spool(tmp_path, MB)

    assert len(again) == 15
    assert drain(again) == list(range(5, 20))


def test_without_commit_the_same_records_are_shown_again(tmp_path: Path, frame: MakeFrame) -> None:
    spool = Spool(tmp_path, MB)
    spool.append([frame(seq) for seq in range(4)])

    assert spool.peek(2) == spool.peek(2)
    assert len(spool) == 4


def test_order_holds_when_appending_and_replaying_take_turns_over_many_segments(
    tmp_path: Path, frame: MakeFrame
) -> None:
    spool = Spool(tmp_path, 256 * 1024)  # segments of 32 KiB
    replayed: list[int | None] = []

    for start in range(0, 3000, 30):
        spool.append([frame(seq) for seq in range(start, start + 30)])
        batch = spool.peek(25)
        replayed += [record.seq for record in batch]
        spool.commit(len(batch))

    assert replayed + drain(spool) == list(range(3000))
    assert list(tmp_path.glob("*.spool")) == []


def test_replayed_segments_give_their_space_back(tmp_path: Path, frame: MakeFrame) -> None:
    spool = Spool(tmp_path, 64 * 1024)
    spool.append([frame(seq) for seq in range(100)])

    drain(spool)

    assert spool.bytes_used == 0
    assert sum(path.stat().st_size for path in tmp_path.glob("*.spool")) == 0


def test_a_batch_beyond_the_bound_is_refused_whole_and_room_comes_with_replay(tmp_path: Path, frame: MakeFrame) -> None:
    spool = Spool(tmp_path, 64 * 1024)
    count = 0
    while spool.bytes_used < 60 * 1024:
        spool.append([frame(count + k) for k in range(10)])
        count += 10

    with pytest.raises(SpoolFull, match=r"max_mb"):
        spool.append([frame(count + k) for k in range(50)])

    assert spool.bytes_used <= 64 * 1024
    assert len(spool) == count
    while len(spool) > count // 2:
        spool.commit(len(spool.peek(50)))
    spool.append([frame(count)])
    assert drain(spool)[-1] == count


@pytest.mark.parametrize("cut", [1, 5, 12, 40])
def test_a_torn_tail_is_reported_as_unfinished_and_costs_only_the_last_record(
    tmp_path: Path, frame: MakeFrame, cut: int
) -> None:
    spool = Spool(tmp_path, MB)
    spool.append([frame(seq) for seq in range(10)])
    spool.close()
    path = only_segment(tmp_path)
    os.truncate(path, path.stat().st_size - cut)

    again = Spool(tmp_path, MB)

    (damage,) = again.take_damages()
    assert damage.unfinished
    assert damage.offset + damage.length == path.stat().st_size
    assert drain(again) == list(range(9))


def test_new_records_behind_a_torn_tail_are_kept(tmp_path: Path, frame: MakeFrame) -> None:
    spool = Spool(tmp_path, MB)
    spool.append([frame(0), frame(1)])
    spool.close()
    os.truncate(only_segment(tmp_path), only_segment(tmp_path).stat().st_size - 3)

    again = Spool(tmp_path, MB)
    again.append([frame(1), frame(2)])

    assert drain(again) == [0, 1, 2]


@pytest.mark.parametrize("position", [0.0, 0.33, 0.5, 0.9])
def test_a_flipped_bit_costs_one_record_and_is_reported_once(tmp_path: Path, frame: MakeFrame, position: float) -> None:
    spool = Spool(tmp_path, MB)
    spool.append([frame(seq) for seq in range(10)])
    spool.close()
    path = only_segment(tmp_path)
    content = bytearray(path.read_bytes())
    content[int(len(content) * position)] ^= 0x10
    path.write_bytes(content)

    again = Spool(tmp_path, MB)

    seqs = drain(again)
    assert len(seqs) == 9
    assert seqs == sorted(set(range(10)) & set(seqs))
    (damage,) = again.take_damages()
    assert damage.length == pytest.approx(len(content) / 10, rel=0.1)
    assert again.take_damages() == []


@pytest.mark.parametrize("content", [b"", b"\x00" * 20, b"garbage that is much longer than a cursor"])
def test_a_damaged_cursor_means_replaying_from_the_oldest_record(
    tmp_path: Path, frame: MakeFrame, content: bytes
) -> None:
    spool = Spool(tmp_path, MB)
    spool.append([frame(seq) for seq in range(10)])
    spool.peek(5)
    spool.commit(5)
    spool.close()
    (tmp_path / "cursor").write_bytes(content)

    assert drain(Spool(tmp_path, MB)) == list(range(10))


def test_a_second_user_of_the_folder_is_refused(tmp_path: Path) -> None:
    first = Spool(tmp_path, MB)

    with pytest.raises(SpoolError, match="another publish worker"):
        Spool(tmp_path, MB)
    first.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(SpoolError, match="file/spool"):
        Spool(tmp_path / "file" / "spool", MB)


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_a_disk_that_refuses_a_batch_keeps_nothing_of_it_and_takes_the_next(
    tmp_path: Path, frame: MakeFrame, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    spool = Spool(tmp_path, MB)
    spool.append([frame(0)])
    with monkeypatch.context() as patch:
        patch.setattr(spool_module.os, call, refuse)
        with pytest.raises(SpoolError, match="No space left on device"):
            spool.append([frame(1), frame(2)])

    spool.append([frame(3)])

    assert drain(spool) == [0, 3]
    assert spool.take_damages() == []


def test_what_a_killed_writer_had_appended_is_there(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, itertools\n"
        "from f2pnet.inspection.result import Verdict\n"
        "from pipeline.store import Record, Spool\n"
        "spool = Spool(pathlib.Path(sys.argv[1]), 64 * 1024 * 1024)\n"
        "for seq in itertools.count():\n"
        "    spool.append([Record(frame_id=f'c/r/{seq}', camera_id='c', run_id='r', seq=seq, verdict=Verdict.NG,\n"
        "                         captured_at_ns=0, data=b'x' * 500)])\n"
        "    print(seq, flush=True)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    with writer.stdout:
        for _ in range(50):
            acknowledged = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        writer.wait(5)
        acknowledged = max([acknowledged, *(int(line) for line in writer.stdout if line.endswith(b"\n"))])

    spool = Spool(tmp_path, 64 * MB)

    seqs = drain(spool)
    assert seqs == list(range(len(seqs)))
    assert len(seqs) > acknowledged
    assert all(damage.unfinished for damage in spool.take_damages())


def test_a_full_disk_stops_neither_opening_nor_replay(tmp_path: Path, frame: MakeFrame) -> None:
    disk = tmp_path / "disk"
    if not mount_small_disk(disk):
        pytest.skip("mounting a small disk of its own needs root")
    try:
        with closing(Spool(disk / "spool", 1 << 20)) as spool:
            spool.append([frame(seq) for seq in range(40)])
            spool.peek(7)
            spool.commit(7)
            fill(disk)
            assert drain_some(spool, 13) == list(range(7, 20))
        with closing(Spool(disk / "spool", 1 << 20)) as spool:
            assert drain(spool) == list(range(20, 40))
            assert spool.bytes_used == 0
        with closing(Spool(disk / "spool", 1 << 20)) as spool:
            assert not len(spool)
    finally:
        unmount(disk)


def drain_some(spool: Spool, count: int) -> list[int | None]:
    records = spool.peek(count)
    spool.commit(count)
    return [record.seq for record in records]


def delete_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def replace_folder(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def delete_files(folder: Path) -> None:
    for path in folder.glob("*.spool"):
        path.unlink()


def restore_from_a_copy(folder: Path) -> None:
    """The same names and contents, and other files."""
    shutil.copytree(folder, folder.with_name("copy"))
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)


@pytest.mark.parametrize("delete", [delete_folder, replace_folder, delete_files, restore_from_a_copy])
def test_a_spool_that_is_deleted_while_in_use_tells_its_loss_and_goes_on(
    tmp_path: Path, frame: MakeFrame, delete: Callable[[Path], None]
) -> None:
    folder = tmp_path / "spool"
    spool = Spool(folder, MB)
    spool.append([frame(seq) for seq in range(10)])
    spool.peek(3)
    spool.commit(3)
    delete(folder)
    spool.append([frame(10), frame(11)])

    (removal,) = spool.take_damages()
    assert isinstance(removal, Removal)
    assert removal.records == 7
    assert spool.take_damages() == []
    assert drain(spool) == [10, 11]
    spool.append([frame(12)])
    spool.close()
    with closing(Spool(folder, MB)) as again:
        assert 12 in drain(again)


def test_an_empty_spool_that_is_deleted_is_told_once_and_made_anew(tmp_path: Path, frame: MakeFrame) -> None:
    spool = Spool(tmp_path / "spool", MB)
    for _ in range(2):
        shutil.rmtree(tmp_path / "spool")
        for _ in range(3):
            spool.check_files()
        (removal,) = spool.take_damages()
        assert isinstance(removal, Removal)
        assert removal.records == 0
    spool.append([frame(1)])
    assert [path.name for path in sorted((tmp_path / "spool").iterdir())] == [
        "0000000001.spool",
        "cursor",
        "spool.lock",
    ]


def test_a_folder_that_can_not_be_made_anew_is_told_once_and_tried_again(tmp_path: Path, frame: MakeFrame) -> None:
    spool = Spool(tmp_path / "spool", MB)
    spool.append([frame(0)])
    shutil.rmtree(tmp_path / "spool")
    (tmp_path / "spool").write_text("a file in its place")
    for _ in range(3):
        with pytest.raises(SpoolError, match="make anew"):
            spool.append([frame(1)])
    (tmp_path / "spool").unlink()
    spool.append([frame(1)])
    (removal,) = spool.take_damages()
    assert isinstance(removal, Removal)
    assert removal.records == 1
    assert drain(spool) == [1]


def test_between_peek_and_commit_the_files_may_vanish(tmp_path: Path, frame: MakeFrame) -> None:
    spool = Spool(tmp_path / "spool", MB)
    spool.append([frame(0), frame(1)])
    assert len(spool.peek(2)) == 2
    delete_files(tmp_path / "spool")
    spool.commit(2)
    assert drain(spool) == []


@pytest.mark.parametrize(
    "name", ["0000000001 copy.spool", "1.spool", "x.spool", "0000000001.spool.bak", "\udcff.spool", "²²²²²²²²²².spool"]
)
def test_names_that_are_not_the_spools_are_left_alone(tmp_path: Path, frame: MakeFrame, name: str) -> None:
    (tmp_path / name).write_bytes(b"somebody's")
    (tmp_path / "0000000009.spool").mkdir()
    (tmp_path / "0000000008.spool").symlink_to("/etc/passwd")
    spool = Spool(tmp_path, MB)
    spool.append([frame(seq) for seq in range(3)])
    assert [record.seq for record in waiting_in(tmp_path)] == [0, 1, 2]
    assert drain(spool) == [0, 1, 2]
    spool.close()
    assert (tmp_path / name).read_bytes() == b"somebody's"
    assert (tmp_path / "0000000009.spool").is_dir()


def test_a_name_that_somebody_took_is_not_written_over(tmp_path: Path, frame: MakeFrame) -> None:
    spool = Spool(tmp_path, MB)
    (tmp_path / "0000000001.spool").write_bytes(b"somebody's")
    spool.append([frame(0)])
    assert drain(spool) == [0]
    assert (tmp_path / "0000000001.spool").read_bytes() == b"somebody's"


def test_a_file_that_somebody_cuts_is_a_loss_that_is_told(tmp_path: Path, frame: MakeFrame) -> None:
    spool = Spool(tmp_path, MB)
    spool.append([frame(seq) for seq in range(4)])
    path = only_segment(tmp_path)
    os.truncate(path, path.stat().st_size // 2 + 10)
    spool.append([frame(4)])
    seqs = drain(spool)
    assert seqs == [0, 1, 4]
    assert any(isinstance(damage, Damage) and not damage.unfinished for damage in spool.take_damages())
