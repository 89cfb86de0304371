"""What `auto` takes: of the backends that can run a bundle here, the fastest in a short race."""

from __future__ import annotations

import importlib.util
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from f2pnet.backends.base import Backend, Device
from f2pnet.backends.cuda_driver import probe
from f2pnet.engine.bundle import ArtifactFormat, Bundle, Precision
from f2pnet.errors import F2pError, MissingResource

log = logging.getLogger(__name__)

RUNS = 5
GPU_BATCH = 8
"""Images in a run of the race where a GPU takes part, which shows in batches what it can."""
RUN_FOR_S = 1.0
"""A start waits for the race: a large network gets one timed run, a small one all of them."""

Opener = Callable[[str], Backend]


def open_fastest(bundle: Bundle, device: Device, precision: Precision | None, opener: Opener) -> Backend:
    """Open every candidate, let each run one image, and keep the fastest; its facts say why it was taken.

    A candidate that does not open is passed over with a line in the log; raises MissingResource, or that candidate's
    own error, where none is left.
    """
    opened: dict[str, Backend] = {}
    errors: dict[str, F2pError] = {}
    for name in candidates(bundle, device, precision):
        try:
            opened[name] = opener(name)
        except F2pError as error:
            errors[name] = error
    if not opened:
        raise next(iter(errors.values()), MissingResource(_nothing(bundle, precision)))
    for name, refusal in errors.items():
        log.warning("backend %s is passed over: %s", name, refusal)
    if len(opened) == 1:
        (name, backend), why = next(iter(opened.items())), "the only one here that can run this bundle"
    else:
        has_gpu = any(backend.facts.device != "cpu" for backend in opened.values())
        times_ms = {name: _image_ms(backend, GPU_BATCH if has_gpu else 1) for name, backend in opened.items()}
        name = min(times_ms, key=lambda key: times_ms[key])
        why = "fastest of " + ", ".join(
            f"{key} {ms:.1f} ms" for key, ms in sorted(times_ms.items(), key=lambda t: t[1])
        )
        backend = opened.pop(name)
        for other in opened.values():
            other.close()
    backend.facts = replace(backend.facts, why=why)
    log.info("backend %s on %s: %s", name, backend.facts.device, why)
    return backend


def candidates(bundle: Bundle, device: Device, precision: Precision | None) -> Iterator[str]:
    """Backends that have a file in the bundle and whose device may be here."""
    if device != "cpu" and _has(bundle, "tensorrt", precision) and _driver_works():
        yield "tensorrt"
    if _has(bundle, "onnx", precision):
        yield "onnxruntime"
    if device != "cuda" and _has(bundle, "openvino", precision) and importlib.util.find_spec("openvino"):
        yield "openvino"


def _has(bundle: Bundle, kind: ArtifactFormat, precision: Precision | None) -> bool:
    try:
        bundle.artifact(kind, precision)
    except MissingResource:
        return False
    return True


def _driver_works() -> bool:
    try:
        probe()
    except MissingResource:
        return False
    return True


def _nothing(bundle: Bundle, precision: Precision | None) -> str:
    held = ", ".join(sorted({f"{a.precision} {a.format}" for a in bundle.manifest.artifacts}))
    wanted = f"{precision} " if precision else ""
    return (
        f"no backend here can run a {wanted}file of {bundle.folder}, which holds {held}: "
        "install the extra 'openvino', use a machine with a GPU, or export another format"
    )


def _image_ms(backend: Backend, most: int) -> float:
    """Median time of one image out of up to `most` in a run, in ms, after one run to warm up."""
    size, count = backend.facts.image_size, min(most, backend.facts.max_batch)
    images = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
    backend.run(images)
    times: list[float] = []
    deadline = time.perf_counter() + RUN_FOR_S
    while len(times) < RUNS and (not times or time.perf_counter() < deadline):
        started = time.perf_counter()
        backend.run(images)
        times.append((time.perf_counter() - started) * 1e3 / count)
    return statistics.median(times)
