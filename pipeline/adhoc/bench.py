"""`f2p bench pipeline`: how fast frames go from capture to durable verdict, beside what the memory alone allows.

The limit of the frame path is one copy of each frame, into the ring. So the baseline, measured in the same run and
just before it, is the rate at which one thread copies the same frames with memcpy. With the engine `null` no picture is
read again: what is measured is capture, ring, leases, messages and the store.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from pydantic import ValidationError

from f2pnet.config import CameraConfig, EngineConfig, LineConfig, PublishConfig
from f2pnet.config.line import SpoolConfig
from f2pnet.config.sources import SyntheticSource
from f2pnet.errors import ConfigError
from f2pnet.machine import machine_facts
from f2pnet.text import printable
from pipeline.adhoc.configuration import SHIPPED_ENGINE, shipped_config, write_line
from pipeline.adhoc.folder import temporary_line
from pipeline.sources import open_source
from pipeline.sources.base import Frame
from pipeline.status.summary import LineStatus
from pipeline.supervision.line import run_line

LOOP_FRAMES = 8
MEMCPY_S = 2.0
RING_SLOTS = 32
MAX_BATCH = 16
SAMPLE_S = 0.1


def measure_pipeline(cameras: int, size: str, engine: str, duration_s: float) -> dict[str, Any]:
    """Run a line of `cameras` synthetic colour cameras as fast as it goes; its summary, with baseline and machine."""
    try:
        source = SyntheticSource(size=size, fps=None, loop_frames=LOOP_FRAMES, colour=True, defect_rate=0.0)
    except ValidationError:
        raise ConfigError(f"--size is {printable(size)}: wanted WIDTHxHEIGHT, 96 to 8192 px each") from None
    memcpy_fps, frame_bytes = _memcpy_rate(source)
    with temporary_line() as folder:
        line = _line(cameras, source, engine, folder)
        meter = _MemoryMeter()
        rates = _Rates()
        with meter:
            status = run_line(
                line, write_line(line, folder), duration_s=duration_s, view=rates, view_interval_s=SAMPLE_S
            )
    return {
        **status.summary(),
        "throughput_fps": round(rates.steady_fps(), 2),
        "baseline": {
            "memcpy_fps": round(memcpy_fps, 2),
            "frame_bytes": frame_bytes,
            "ratio": round(rates.steady_fps() / memcpy_fps, 3),
        },
        "peak_memory_mb": round(meter.peak_bytes / 2**20, 1),
        "machine": machine_facts(),
    }


def _line(cameras: int, source: SyntheticSource, engine: str, folder: Path) -> LineConfig:
    null = engine == "null"
    return LineConfig(
        line="bench",
        engine=EngineConfig(
            bundle=shipped_config("engines", SHIPPED_ENGINE) if null else Path(engine).resolve(),
            backend="null" if null else "auto",
            max_batch=MAX_BATCH,
        ),
        cameras=[
            CameraConfig(id=f"cam{n}", source=source, ring_slots=RING_SLOTS, on_overload="block")
            for n in range(1, cameras + 1)
        ],
        publish=PublishConfig(spool=SpoolConfig(dir=folder / "spool")),
    )


def _memcpy_rate(source: SyntheticSource) -> tuple[float, int]:
    """Copies per second of the source's frames into as many slots as a ring has, by one thread; bytes of a frame."""
    with open_source(source) as camera:
        images = [item.image for item in (camera.read(1.0) for _ in range(LOOP_FRAMES)) if isinstance(item, Frame)]
    ring = np.zeros((RING_SLOTS, *images[0].shape), np.uint8)
    for slot in ring:
        np.copyto(slot, images[0])  # touch the pages first, as a running ring has
    copied, started_s = 0, time.perf_counter()
    while time.perf_counter() - started_s < MEMCPY_S:
        np.copyto(ring[copied % RING_SLOTS], images[copied % LOOP_FRAMES])
        copied += 1
    return copied / (time.perf_counter() - started_s), images[0].nbytes


class _Rates:
    """Verdicts over time; the steady rate leaves out start and end."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, int]] = []

    def __call__(self, status: LineStatus) -> None:
        if status.verdicts:
            self._samples.append((time.perf_counter(), status.verdicts))

    def steady_fps(self) -> float:
        """Rate between the first and the last tenth of the samples; 0 when there were too few."""
        margin = len(self._samples) // 10
        if len(self._samples) - 2 * margin < 2:
            return 0.0
        (start_s, first), (end_s, last) = self._samples[margin], self._samples[-1 - margin]
        return (last - first) / (end_s - start_s)


class _MemoryMeter:
    """Peak of the proportional memory of this process and its children; shared pages are counted once."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._measure, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(timeout=5)

    def _measure(self) -> None:
        me = psutil.Process()
        while not self._done.wait(0.5):
            family = [me, *me.children(recursive=True)]
            self.peak_bytes = max(self.peak_bytes, sum(map(_proportional_bytes, family)))


def _proportional_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0  # it has just ended
