"""Inference backends: each runs the engine of a bundle on batches of network-sized images.

`open_backend` imports the chosen one only, so nobody needs a runtime that is not used.
"""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path

from f2pnet.backends.base import Backend, BackendFacts, Device
from f2pnet.backends.choice import open_fastest
from f2pnet.config.simulated import NAME as SIMULATED
from f2pnet.config.simulated import SimulatedSpec
from f2pnet.engine.bundle import ArtifactFormat, Bundle, Precision
from f2pnet.errors import ConfigError, MissingExtra, MissingResource
from f2pnet.providers import provider

__all__ = ["BACKENDS", "BACKEND_OF_FORMAT", "Backend", "BackendFacts", "Device", "open_backend", "open_checkpoint"]

log = logging.getLogger(__name__)

BACKENDS = {
    "onnxruntime": "f2pnet.backends.onnx_runtime:OnnxRuntimeBackend",
    "null": "f2pnet.backends.null:NullBackend",
    "tensorrt": "f2pnet.backends.tensorrt:TensorRtBackend",
    "openvino": "f2pnet.backends.openvino:OpenVinoBackend",
}

BACKEND_OF_FORMAT: dict[ArtifactFormat, str] = {"onnx": "onnxruntime", "openvino": "openvino", "tensorrt": "tensorrt"}
"""What runs the files of a format."""
CHECKPOINT_PACKAGES = ("export", "models", "training")


def open_checkpoint(path: Path) -> tuple[Bundle, Backend]:
    """A checkpoint as if it were a bundle, with torch to run it.

    Raises MissingExtra without torch, MissingResource or ConfigError where the file is not usable, or where other
    packages have the names of ours.
    """
    try:
        opened: tuple[Bundle, Backend] = provider("checkpoints")(path)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in CHECKPOINT_PACKAGES:
            raise ConfigError(
                f"the package '{package}' of this program ({_place_of(package)}) hides the one that reads checkpoints: "
                "rename it, or export the checkpoint to an engine (f2p export) and open that"
            ) from error
        raise MissingExtra(f"checkpoints and their packages ({error.name})", "train") from error
    return opened


def _place_of(package: str) -> str:
    found = sys.modules.get(package)
    return "not found" if found is None else found.__file__ or ", ".join(found.__path__)


def open_backend(
    name: str,
    bundle: Bundle,
    *,
    device: Device = "auto",
    threads: int | None = None,
    precision: Precision | None = None,
    allow_fallback: bool = False,
) -> Backend:
    """Open the named backend on the bundle's engine; `simulated:RATE...` as `f2pnet.config.simulated` has it.

    `auto` takes the fastest that can run here (`f2pnet.backends.choice`). `device` "auto" takes a GPU where one works;
    one that is asked for by name and absent is an error, or with `allow_fallback` a warning, and the CPU.
    `threads` bounds the CPU threads of one run; None: as many as the runtime likes. `precision` chooses among the files
    that a bundle holds in the backend's format; None: the first one of the manifest. Raises ConfigError (unknown name),
    MissingExtra or MissingResource (not installed or not here), BackendError (the runtime refuses the engine).
    """
    try:
        return _open(name, bundle, device, threads, precision)
    except MissingResource as error:
        if device != "cuda" or not allow_fallback:
            raise
        log.warning("device cuda is not here, and a fallback is allowed: the engine runs on the CPU (%s)", error)
        return _open(name, bundle, "cpu", threads, precision)


def _open(name: str, bundle: Bundle, device: Device, threads: int | None, precision: Precision | None) -> Backend:
    if name == "auto":
        return open_fastest(bundle, device, precision, lambda each: _open(each, bundle, device, threads, precision))
    if name.startswith(f"{SIMULATED}:"):
        return _open_simulated(name, bundle, threads, precision)
    if name not in BACKENDS:
        raise ConfigError(f"unknown backend '{name}': wanted one of auto, {', '.join(BACKENDS)}")
    module, _, attribute = BACKENDS[name].partition(":")
    backend: Backend = getattr(importlib.import_module(module), attribute)(
        bundle, device=device, threads=threads, precision=precision
    )
    return backend


def _open_simulated(spec: str, bundle: Bundle, threads: int | None, precision: Precision | None) -> Backend:
    from f2pnet.backends.simulated.backend import SimulatedBackend

    return SimulatedBackend(bundle, SimulatedSpec.parse(spec), threads=threads, precision=precision)
