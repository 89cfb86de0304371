"""Each file of a bundle tried on this machine: whether it runs, how fast, or what it lacks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from f2pnet.backends import BACKEND_OF_FORMAT, open_backend
from f2pnet.backends.base import Backend
from f2pnet.engine.bundle import Artifact, Bundle, Precision
from f2pnet.errors import F2pError, MissingResource

TIMED_RUNS = 10


@dataclass(frozen=True)
class Trial:
    """What came of one file. Where it ran, `device` and `median_ms` (one image) say how; else `error` says why not."""

    artifact: Artifact
    backend: str
    device: str | None = None
    median_ms: float | None = None
    error: F2pError | None = None

    @property
    def is_missing(self) -> bool:
        """It was not tried: an extra, a driver or a GPU is not here. The engine may be sound."""
        return isinstance(self.error, MissingResource)

    def as_json(self) -> dict[str, Any]:
        """Facts for programs."""
        return {
            "file": self.artifact.file,
            "format": self.artifact.format,
            "precision": self.artifact.precision,
            "backend": self.backend,
            "device": self.device,
            "median_ms": self.median_ms,
            "error": None if self.error is None else str(self.error),
        }

    def __str__(self) -> str:
        what = f"{self.artifact.file} ({self.artifact.precision}, {self.backend})"
        if self.error is None:
            return f"{what}: runs on {self.device}, {self.median_ms:.1f} ms for one image (median of {TIMED_RUNS})"
        return f"{what}: {'not here' if self.is_missing else 'refused'}: {self.error}"


def try_files(bundle: Bundle, backend: str | None = None, precision: Precision | None = None) -> Iterator[Trial]:
    """Try every file that takes pixels and gives verdict maps; with `backend` or `precision` only the files of these.

    Encoder and decoder halves are left out. Raises MissingResource where nothing is left to try.
    """
    chosen = [
        artifact
        for artifact in bundle.manifest.artifacts
        if artifact.role == "auto"
        and artifact.format in BACKEND_OF_FORMAT
        and backend in (None, BACKEND_OF_FORMAT[artifact.format])
        and precision in (None, artifact.precision)
    ]
    if not chosen:
        held = ", ".join(f"{a.precision} {a.format}" for a in bundle.manifest.artifacts)
        raise MissingResource(
            f"engine bundle {bundle.folder} has no {precision or ''} file for {backend or 'any backend'}, only {held}: "
            "export one with `f2p export --format ... --precision ...`"
        )
    for artifact in chosen:
        yield _try(bundle, artifact)


def _try(bundle: Bundle, artifact: Artifact) -> Trial:
    backend = BACKEND_OF_FORMAT[artifact.format]
    try:
        with open_backend(backend, bundle, precision=artifact.precision) as running:
            return Trial(artifact, backend, running.facts.device, _probe(running))
    except F2pError as error:
        return Trial(artifact, backend, error=error)


def _probe(backend: Backend) -> float:
    """Run images at the edges of what cameras give, and return the median time of one, in ms.

    The backend refuses answers that are no probabilities, so an engine that overflows does not pass. Raises
    BackendError.
    """
    size = backend.facts.image_size
    noise = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    for image in (np.zeros_like(noise), np.full_like(noise, 128), np.full_like(noise, 255), noise):
        backend.run(image)
    return statistics.median(_run_ms(backend, noise) for _ in range(TIMED_RUNS))


def _run_ms(backend: Backend, image: np.ndarray[Any, np.dtype[np.uint8]]) -> float:
    started = time.perf_counter()
    backend.run(image)
    return (time.perf_counter() - started) * 1e3
