"""The spool beside `sqlite3` in WAL mode: durable appends, and what one wrong byte costs. `python benchmarks/spool.py`.

Each append is a batch of records that must be on the disk when the call returns (sqlite: `synchronous=FULL`).
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from f2pnet.inspection.result import Verdict
from pipeline.store.records import Record
from pipeline.store.spool.spool import Spool, waiting_in

APPENDS = 200
BATCHES = (1, 16, 64)
RECORD_BYTES = 1_000
DAMAGED_FILES = 20


def record(number: int) -> Record:
    """A verdict of about the usual length."""
    return Record(
        frame_id=f"cam1/20261126T120000-abcd/{number:06d}",
        camera_id="cam1",
        run_id="20261126T120000-abcd",
        seq=number,
        verdict=Verdict.NG,
        reason=None,
        captured_at_ns=number,
        data=os.urandom(RECORD_BYTES // 2).hex().encode(),
    )


def sqlite(path: Path) -> sqlite3.Connection:
    """A queue in WAL mode, durable at each commit."""
    store = sqlite3.connect(path, isolation_level=None)
    store.execute("PRAGMA journal_mode=WAL")
    store.execute("PRAGMA synchronous=FULL")
    store.execute("CREATE TABLE IF NOT EXISTS queue (seq INTEGER PRIMARY KEY, data BLOB NOT NULL)")
    return store


def _append_sqlite(store: sqlite3.Connection, records: list[Record]) -> None:
    store.execute("BEGIN IMMEDIATE")
    store.executemany("INSERT INTO queue (data) VALUES (?)", [(each.data,) for each in records])
    store.execute("COMMIT")


def append_times_ms(append: Callable[[list[Record]], None], batch: int) -> list[float]:
    """Milliseconds of each append."""
    times = []
    for number in range(APPENDS):
        records = [record(number * batch + place) for place in range(batch)]
        began_s = time.perf_counter()
        append(records)
        times.append((time.perf_counter() - began_s) * 1e3)
    return times


def _spoil(path: Path, rng: random.Random) -> None:
    with path.open("r+b") as file:
        size = path.stat().st_size
        file.seek(rng.randrange(size // 4, size * 3 // 4))
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0xFF]))


def left_of_spool(folder: Path, rng: random.Random) -> int:
    """How many of 1000 records are read after one byte of the file was changed."""
    spool = Spool(folder, 10**8)
    for start in range(0, 1000, 10):
        spool.append([record(start + place) for place in range(10)])
    spool.close()
    _spoil(max(folder.iterdir(), key=_size), rng)
    return len(list(waiting_in(folder)))


def _size(path: Path) -> int:
    return path.stat().st_size


def left_of_sqlite(folder: Path, rng: random.Random) -> int:
    """The same; 0 where the database refuses to be read."""
    folder.mkdir()
    store = sqlite(folder / "queue.db")
    originals = []
    for start in range(0, 1000, 10):
        records = [record(start + place) for place in range(10)]
        originals += [each.data for each in records]
        _append_sqlite(store, records)
    store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    _spoil(folder / "queue.db", rng)
    try:
        rows = sqlite3.connect(folder / "queue.db").execute("SELECT data FROM queue ORDER BY seq").fetchall()
    except sqlite3.DatabaseError:
        return 0
    known = set(originals)
    silently_changed = sum(data not in known for (data,) in rows)
    return -silently_changed if silently_changed else len(rows)


def main() -> None:
    base = Path(tempfile.mkdtemp(dir=Path.cwd()))
    try:
        for batch in BATCHES:
            spool, store = Spool(base / f"spool-{batch}", 10**9), sqlite(base / f"{batch}.db")
            appends = {"spool": spool.append, "sqlite": lambda each, at=store: _append_sqlite(at, each)}
            for name, append in appends.items():
                times = sorted(append_times_ms(append, batch))
                print(f"{name:7} batch {batch:3}: median {times[APPENDS // 2]:6.2f} ms, p99 {times[-2]:6.2f} ms")
            spool.close()
            store.close()
        rng = random.Random(0)
        spools = [left_of_spool(base / f"s{number}", rng) for number in range(DAMAGED_FILES)]
        stores = [left_of_sqlite(base / f"q{number}", rng) for number in range(DAMAGED_FILES)]
        print(f"records left of 1000 after one wrong byte: spool {spools}; sqlite {stores}")
        print("(a negative number: so many records that sqlite returned with other content, without an error)")
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
