"""OpenVINO on x86 CPUs, Intel's and AMD's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from f2pnet.backends.base import Backend, BackendFacts, Batch, Device, Outputs
from f2pnet.engine.bundle import Bundle, Precision
from f2pnet.errors import BackendError, ConfigError, MissingExtra


class OpenVinoBackend(Backend):
    """Runs the bundle's OpenVINO file in the precision that the manifest states, tuned for latency."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: Device = "auto",
        threads: int | None = None,
        precision: Precision | None = None,
    ) -> None:
        if device == "cuda":
            raise ConfigError("OpenVINO runs on the CPU alone, asked for was device cuda: use backend onnxruntime")
        openvino = _import_openvino()
        artifact = bundle.artifact("openvino", precision)
        manifest = bundle.manifest
        self._fixed_batch = artifact.max_batch if artifact.static_batch else None
        self._input = manifest.input.name
        self._names = [spec.name for spec in manifest.outputs]
        compiled = compile_model(openvino, bundle.path(artifact), artifact.precision, threads)
        _check_graph(compiled, self._input, self._names)
        self._request: Any = compiled.create_infer_request()
        facts = BackendFacts(
            "openvino", "cpu", artifact.max_batch, manifest.network.image_size, precision=artifact.precision
        )
        super().__init__(facts, manifest.outputs)

    def _run(self, batch: Batch) -> Outputs:
        count = len(batch)
        if self._fixed_batch is not None and count < self._fixed_batch:
            batch = np.concatenate([batch, np.zeros((self._fixed_batch - count, *batch.shape[1:]), np.uint8)])
        try:
            values = self._request.infer({self._input: np.ascontiguousarray(batch)})
        except RuntimeError as error:  # what OpenVINO's bindings raise
            raise BackendError(f"OpenVINO failed on a batch {batch.shape}: {error}") from error
        # Copied: the request writes the next batch's answer over this one.
        return {name: np.array(values[name], np.float32)[:count] for name in self._names}


def compile_model(openvino: Any, path: Path, precision: Precision, threads: int | None) -> Any:
    """The model, ready for the CPU. Raises BackendError where OpenVINO refuses it.

    The precision is always stated: left to itself OpenVINO computes fp32 files in bfloat16 where the CPU can.
    """
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    if threads is not None:
        # OpenVINO sees the cores of this process; asking for more than there are gains nothing.
        settings["INFERENCE_NUM_THREADS"] = min(threads, os.cpu_count() or threads)
    try:
        return openvino.Core().compile_model(str(path), "CPU", settings)
    except RuntimeError as error:
        raise BackendError(f"OpenVINO {openvino.__version__} refuses {path}: {error}") from error


def _import_openvino() -> ModuleType:
    try:
        import openvino
    except ImportError as error:
        raise MissingExtra("OpenVINO engines", "openvino") from error
    return openvino  # type: ignore[no-any-return]


def _check_graph(compiled: Any, input_name: str, wanted: Sequence[str]) -> None:
    found = {port.get_any_name(): port.get_element_type().get_type_name() for port in compiled.inputs}
    if found != {input_name: "u8"}:
        raise BackendError(f"engine inputs are {found}; the manifest says {{'{input_name}': 'u8'}}")
    outputs = {name for port in compiled.outputs for name in port.get_names()}
    if not set(wanted) <= outputs:
        raise BackendError(f"engine outputs are {sorted(outputs)}; the manifest says {sorted(wanted)}")
