"""Inference backends: each runs the engine of a bundle on batches of network-sized images.

`open_backend` imports the chosen one only, so nobody needs a runtime that is not used.
"""

from __future__ import annotations

import importlib

from f2pnet.backends.base import Backend, BackendFacts, Device
from f2pnet.bundle import Bundle, Precision
from f2pnet.errors import ConfigError

__all__ = ["BACKENDS", "Backend", "BackendFacts", "Device", "open_backend"]

BACKENDS = {
    "onnxruntime": "f2pnet.backends.onnx_runtime:OnnxRuntimeBackend",
    "null": "f2pnet.backends.null:NullBackend",
    "tensorrt": "f2pnet.backends.tensorrt:TensorRtBackend",
    "openvino": "f2pnet.backends.openvino:OpenVinoBackend",
}


def open_backend(
    name: str,
    bundle: Bundle,
    *,
    device: Device = "auto",
    threads: int | None = None,
    precision: Precision | None = None,
) -> Backend:
    """Open the named backend on the bundle's engine.

    `auto` takes the best backend for what the bundle holds. `device` "auto" takes a GPU where one works; one that is
    asked for by name and absent is an error. `threads` bounds the CPU threads of one run; None: as many as the runtime
    likes. `precision` chooses among the files that a bundle holds in the backend's format; None: the first one of the
    manifest. Raises ConfigError (unknown name), MissingExtra or MissingResource (not installed or not here),
    BackendError (the runtime refuses the engine).
    """
    if name == "auto":
        name = "onnxruntime"  # the one format that every bundle holds so far
    if name not in BACKENDS:
        raise ConfigError(f"unknown backend '{name}': wanted one of auto, {', '.join(BACKENDS)}")
    module, _, attribute = BACKENDS[name].partition(":")
    backend: Backend = getattr(importlib.import_module(module), attribute)(
        bundle, device=device, threads=threads, precision=precision
    )
    return backend
