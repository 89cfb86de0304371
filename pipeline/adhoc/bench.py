"""`f2p bench pipeline`: how fast frames go from capture to durable verdict, beside what the memory alone allows.

The limit of the frame path is one copy of each frame, into the ring. So the baseline, measured in the same run and
just before it, is the rate at which one thread copies the same frames with memcpy. With the engine `null` no picture is
read again: what is measured is capture, ring, leases, messages and the store. Any other engine is a limit too: its bare
rate, from memory to memory with full batches, is measured just before as well.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from pydantic import ValidationError

from f2pnet.backends import open_backend
from f2pnet.config import CameraConfig, EngineConfig, LineConfig, PublishConfig
from f2pnet.config.line import SpoolConfig
from f2pnet.config.simulated import NAME as SIMULATED
from f2pnet.config.simulated import SimulatedSpec
from f2pnet.config.sources import SyntheticSource
from f2pnet.engine.bundle import open_bundle
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
BARE_S = 2.0
BARE_RUNS = 5
RING_SLOTS = 32
MAX_BATCH = 16
SAMPLE_S = 0.1


def measure_pipeline(
    cameras: int, size: str, engine: str, duration_s: float, fps: float | None = None
) -> dict[str, Any]:
    """Run a line of `cameras` synthetic colour cameras; its summary, with baseline and machine.

    `engine`: a bundle's folder, `null` or `simulated:RATE[:BATCH]`. `fps`: of each camera; None: as fast as it goes.
    """
    try:
        source = SyntheticSource(size=size, fps=fps, loop_frames=LOOP_FRAMES, colour=True, defect_rate=0.0)
    except ValidationError:
        raise ConfigError(f"--size is {printable(size)}: wanted WIDTHxHEIGHT, 96 to 8192 px each") from None
    memcpy_fps, frame_bytes = _memcpy_rate(source)
    with temporary_line() as folder:
        line = _line(cameras, source, engine, folder)
        bare_fps = None if engine == "null" else _bare_rate(line.engine)
        meter = _MemoryMeter()
        rates = _Rates()
        with meter:
            status = run_line(
                line, write_line(line, folder), duration_s=duration_s, view=rates, view_interval_s=SAMPLE_S
            )
    summary = status.summary()
    return {
        **summary,
        "throughput_fps": round(rates.steady_fps(), 2),
        "engine": {**summary["engine"], "bare_fps": bare_fps and round(bare_fps, 2)},
        "ratio_to_engine": bare_fps and round(rates.steady_fps() / bare_fps, 3),
        "baseline": {
            "memcpy_fps": round(memcpy_fps, 2),
            "frame_bytes": frame_bytes,
            "ratio": round(rates.steady_fps() / memcpy_fps, 3),
        },
        "peak_memory_mb": round(meter.peak_bytes / 2**20, 1),
        "machine": machine_facts(),
    }


def _line(cameras: int, source: SyntheticSource, engine: str, folder: Path) -> LineConfig:
    return LineConfig(
        line="bench",
        engine=_engine(engine, folder),
        cameras=[
            CameraConfig(id=f"cam{n}", source=source, ring_slots=RING_SLOTS, on_overload="block")
            for n in range(1, cameras + 1)
        ],
        publish=PublishConfig(spool=SpoolConfig(dir=folder / "spool")),
    )


def _engine(engine: str, folder: Path) -> EngineConfig:
    shipped = shipped_config("engines", SHIPPED_ENGINE)
    if engine == "null":
        return EngineConfig(bundle=shipped, backend="null", max_batch=MAX_BATCH)
    if engine.startswith(f"{SIMULATED}:"):
        spec = SimulatedSpec.parse(engine)
        spec = replace(spec, device_file=spec.device_file or folder / "device")
        return EngineConfig(bundle=shipped, backend=str(spec), max_batch=min(MAX_BATCH, spec.max_batch))
    return EngineConfig(bundle=Path(engine).resolve(), max_batch=MAX_BATCH)


def _bare_rate(engine: EngineConfig) -> float:
    """Images per second of the engine alone, in full batches from memory to memory, as many under way as it takes."""
    with open_backend(engine.backend, open_bundle(engine.bundle)) as backend:
        count = min(engine.max_batch, backend.facts.max_batch)
        batches = [backend.buffer(count) for _ in range(backend.facts.depth)]
        under_way = deque(backend.start(batch) for batch in batches)
        under_way.popleft()()  # the first run takes longer
        done, started_s = 0, time.perf_counter()
        while time.perf_counter() - started_s < BARE_S or done < BARE_RUNS:
            under_way.append(backend.start(batches[done % len(batches)]))
            under_way.popleft()()
            done += 1
        took_s = time.perf_counter() - started_s
        while under_way:
            under_way.popleft()()
    return done * count / took_s


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
