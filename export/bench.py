"""How fast an engine runs here: backends, precisions, batches and threads in one run, taking turns.

Turns, because a machine is never quiet: what slows one engine for a second slows the others as much. Latencies are of
wall time; CPU time is given beside them, since it describes the engine where wall time describes its neighbours.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from export.formats.flops import graph_flops
from f2pnet.backends import BACKEND_OF_FORMAT, BACKENDS, Backend, open_backend
from f2pnet.engine.bundle import Bundle
from f2pnet.errors import F2pError, MissingResource
from f2pnet.isolation import PYTHON, isolated_environment
from f2pnet.machine import machine_facts

WARM_UP_RUNS = 3
TURN_S = 0.15
PEAK_SIDE = 1536
PEAK_PROGRAM = f"""
import numpy, time
a = numpy.random.default_rng(0).random(({PEAK_SIDE}, {PEAK_SIDE}), numpy.float32)
a @ a
best = min((lambda t: (a @ a, time.perf_counter() - t)[1])(time.perf_counter()) for _ in range(12))
print(2 * {PEAK_SIDE}**3 / best)
"""


@dataclass
class Entrant:
    """One engine with its threads and batch, and what was measured of it."""

    backend: Backend
    threads: int
    batch: int
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def turn(self, images: np.ndarray[Any, np.dtype[np.uint8]], seconds: float) -> None:
        """Run again and again for about `seconds`."""
        until = time.perf_counter() + seconds
        while True:
            wall, cpu = time.perf_counter(), time.process_time()
            self.backend.run(images[: self.batch])
            self.wall_ms.append((time.perf_counter() - wall) * 1e3)
            self.cpu_ms.append((time.process_time() - cpu) * 1e3)
            if time.perf_counter() >= until:
                return

    def figures(self, image_flops: int | None, peak_flops: float) -> dict[str, Any]:
        """Rates of images, latencies of batches, and the share of the matrix-product peak with as many threads."""
        p50, p99 = (float(np.percentile(self.wall_ms, share)) for share in (50, 99))
        rate = 1e3 * self.batch / p50
        return {
            "backend": self.backend.facts.name,
            "precision": self.backend.facts.precision,
            "device": self.backend.facts.device,
            "threads": self.threads,
            "batch": self.batch,
            "runs": len(self.wall_ms),
            "images_per_s": round(rate, 1),
            "p50_ms": round(p50, 2),
            "p99_ms": round(p99, 2),
            "cpu_ms_per_image": round(float(np.median(self.cpu_ms)) / self.batch, 2),
            "share_of_peak": None if image_flops is None else round(image_flops * rate / peak_flops, 3),
        }


def measure_engines(
    bundle: Bundle,
    *,
    backends: Sequence[str] = (),
    precisions: Sequence[str] = (),
    batches: Sequence[int] = (1, 8),
    threads: Sequence[int] = (1, 2),
    seconds: float = 3.0,
    more: Mapping[int, Backend] | None = None,
) -> dict[str, Any]:
    """Rates and latencies of every engine of the bundle that runs here, with the machine's facts, as JSON values.

    `backends` and `precisions` narrow it down; `more` is a backend beside the bundle's, such as the checkpoint itself,
    by its threads. `seconds` is measured for each row. Raises MissingResource where nothing of what is asked for runs
    here.
    """
    missing: list[str] = []
    with ExitStack() as stack:
        entrants = list(_entrants(bundle, stack, backends, precisions, batches, threads, missing))
        entrants += [Entrant(other, n, batch) for n, other in (more or {}).items() for batch in batches]
        if not entrants:
            raise MissingResource(f"nothing of {bundle.folder} to measure here: {'; '.join(missing) or 'no such file'}")
        peaks = {n: peak_flops(n) for n in threads}
        _take_turns(entrants, bundle.manifest.network.image_size, seconds)
        image_flops, note = _flops_of(bundle)
        rows = [entrant.figures(image_flops, peaks[entrant.threads]) for entrant in entrants]
    return {
        "engine": {"name": bundle.manifest.name, "sha256": bundle.sha256},
        "machine": machine_facts(),
        "image_gflop": None if image_flops is None else round(image_flops / 1e9, 3),
        "peak_gflops": {str(n): round(peak / 1e9, 1) for n, peak in peaks.items()},
        "rows": rows,
        "missing": [*missing, *([note] if note else [])],
    }


def peak_flops(threads: int) -> float:
    """float32 FLOP/s of the best of twelve matrix products with NumPy, in a process with so many BLAS threads."""
    limits = {name: str(threads) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    answer = subprocess.run(  # noqa: S603 - our own interpreter, our own program
        [*PYTHON, "-c", PEAK_PROGRAM], env=isolated_environment() | limits, capture_output=True, check=True, timeout=120
    )
    return float(answer.stdout)


def _entrants(
    bundle: Bundle,
    stack: ExitStack,
    backends: Sequence[str],
    precisions: Sequence[str],
    batches: Sequence[int],
    threads: Sequence[int],
    missing: list[str],
) -> Iterator[Entrant]:
    for artifact in bundle.manifest.artifacts:
        name = BACKEND_OF_FORMAT[artifact.format]
        wanted = (not backends or name in backends) and (not precisions or artifact.precision in precisions)
        if artifact.role != "auto" or not wanted or name not in BACKENDS:
            continue
        for count in threads:
            try:
                backend = stack.enter_context(
                    open_backend(name, bundle, device="auto", threads=count, precision=artifact.precision)
                )
            except F2pError as error:
                missing.append(f"{name} {artifact.precision}: {error}")
                break
            yield from (Entrant(backend, count, batch) for batch in batches if batch <= backend.facts.max_batch)


def _take_turns(entrants: Sequence[Entrant], size: int, seconds: float) -> None:
    most = max(entrant.batch for entrant in entrants)
    images = np.random.default_rng(0).integers(0, 256, (most, size, size, 3), np.uint8)
    for entrant in entrants:
        for _ in range(WARM_UP_RUNS):
            entrant.backend.run(images[: entrant.batch])
    for _ in range(max(1, round(seconds / TURN_S))):
        for entrant in entrants:
            entrant.turn(images, TURN_S)


def _flops_of(bundle: Bundle) -> tuple[int | None, str | None]:
    """Of one image, from the bundle's ONNX file, and why there is no figure."""
    try:
        artifact = bundle.artifact("onnx", "fp32")
        return graph_flops(Path(bundle.path(artifact))), None
    except (F2pError, ValueError) as error:
        return None, f"FLOPs: {error}"
