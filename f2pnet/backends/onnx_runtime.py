"""ONNX Runtime, on the CPU or on an NVIDIA GPU."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from importlib.metadata import distribution as find_distribution
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from f2pnet.backends.base import Backend, BackendFacts, Batch, Device, Outputs, run_size, run_sizes
from f2pnet.backends.cuda_driver import LOST
from f2pnet.engine.bundle import Bundle, Precision
from f2pnet.errors import BackendError, DeviceLost, MissingExtra, MissingResource

log = logging.getLogger(__name__)

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
CUDA_OPTIONS = {
    "use_tf32": "0",  # on by default, it rounds products to 10 bits of mantissa: fp32 engines then miss the gate
    "cudnn_conv_algo_search": "HEURISTIC",  # the exhaustive search runs again for every batch size
}
ERRORS_ONLY = 3  # the runtime's own log level; its warnings are about graph details nobody can act on


class OnnxRuntimeBackend(Backend):
    """Runs the bundle's ONNX file.

    On a GPU, nodes that the CUDA provider lacks still run on the CPU; that CUDA itself did not start is never hidden:
    asked for by name it is an error, with "auto" it is logged.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: Device = "auto",
        threads: int | None = None,
        precision: Precision | None = None,
    ) -> None:
        runtime = _import_runtime()
        artifact = bundle.artifact("onnx", precision)
        self._session = open_session(runtime, bundle.path(artifact), device, threads)
        used = "cuda:0" if CUDA in self._session.get_providers() else "cpu"
        manifest = bundle.manifest
        _check_graph(self._session, manifest.input.name, {spec.name for spec in manifest.outputs})
        self._input = manifest.input.name
        self._pads = artifact.static_batch or used != "cpu"  # CUDA sets itself up anew for every size of batch
        self._static_batch, self._max_batch = artifact.static_batch, artifact.max_batch
        self._names = [spec.name for spec in manifest.outputs]
        super().__init__(
            BackendFacts(
                "onnxruntime", used, artifact.max_batch, manifest.network.image_size, precision=artifact.precision
            ),
            manifest.outputs,
        )

    def _sizes(self, most: int) -> list[int]:
        return run_sizes(most, self._max_batch) if self._pads and not self._static_batch else [1]

    def _run(self, batch: Batch) -> Outputs:
        count = len(batch)
        size = run_size(count, self._max_batch, static=self._static_batch) if self._pads else count
        if count < size:
            batch = np.concatenate([batch, np.zeros((size - count, *batch.shape[1:]), np.uint8)])
        try:
            values = self._session.run(self._names, {self._input: np.ascontiguousarray(batch)})
        except Exception as error:  # the runtime's exceptions share no base class
            raise _failure(f"ONNX Runtime failed on a batch {batch.shape}", error) from error
        return {name: np.asarray(value, np.float32)[:count] for name, value in zip(self._names, values, strict=True)}


def _failure(what: str, error: Exception) -> BackendError:
    """DeviceLost where the runtime names an error of CUDA that does not heal."""
    if any(int(code) in LOST for code in re.findall(r"CUDA (?:failure|error) (\d+)", str(error))):
        return DeviceLost(f"{what}: {error}")
    return BackendError(f"{what}: {error}")


def _import_runtime() -> ModuleType:
    refuse_two_runtimes(_folder_of)
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("ONNX Runtime engines", "cpu") from error
    return onnxruntime  # type: ignore[no-any-return]


def refuse_two_runtimes(folder_of: Callable[[str], Path | None]) -> None:
    """Both packages own the same folder of modules: whichever came last wins, and a GPU may vanish without a word.

    In two places on Python's path they do each other no harm: the first one is taken.
    """
    folder = folder_of("onnxruntime")
    if folder is not None and folder == folder_of("onnxruntime-gpu"):
        raise MissingResource(
            "onnxruntime and onnxruntime-gpu are both installed and break each other: run "
            "`pip uninstall -y onnxruntime onnxruntime-gpu`, then pip install 'f2pnet[gpu]' or 'f2pnet[cpu]'"
        )


def _folder_of(distribution: str) -> Path | None:
    """Where a distribution's modules are; None where it is not installed."""
    try:
        return Path(str(find_distribution(distribution).locate_file(""))).resolve()
    except PackageNotFoundError:
        return None


def open_session(runtime: Any, path: Path, device: Device, threads: int | None) -> Any:
    """A session of the given onnxruntime module; raises MissingResource rather than run on a device not asked for."""
    has_cuda = CUDA in runtime.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise MissingResource("device cuda: this ONNX Runtime has no CUDA: pip install 'f2pnet[gpu]' in place of [cpu]")
    use_cuda = has_cuda and device != "cpu"
    if use_cuda and hasattr(runtime, "preload_dlls"):
        runtime.preload_dlls()  # CUDA's libraries may lie in Python packages, where the loader does not look
    options = runtime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    # Threads that spin between runs take the cores from cameras and publishers: twice the CPU time for the same answer.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = runtime.InferenceSession(
            str(path), options, providers=[(CUDA, CUDA_OPTIONS), CPU] if use_cuda else [CPU]
        )
    except Exception as error:  # the runtime's exceptions share no base class
        raise BackendError(f"ONNX Runtime refuses {path}: {error}") from error
    if use_cuda and CUDA not in session.get_providers():
        _report_lost_gpu(device)
    return session


def _report_lost_gpu(device: Device) -> None:
    """The runtime falls back to the CPU by itself and only prints a line."""
    text = "CUDA did not start in ONNX Runtime: check the driver with `nvidia-smi` and pip install 'f2pnet[gpu]'"
    if device == "cuda":
        raise MissingResource(f"device cuda: {text}")
    log.warning("%s; the engine runs on the CPU", text)


def _check_graph(session: Any, input_name: str, wanted: set[str]) -> None:
    inputs = {node.name: node.type for node in session.get_inputs()}
    if inputs != {input_name: "tensor(uint8)"}:
        raise BackendError(f"engine inputs are {inputs}; the manifest says {{'{input_name}': 'tensor(uint8)'}}")
    found = {node.name for node in session.get_outputs()}
    if not wanted <= found:
        raise BackendError(f"engine outputs are {sorted(found)}; the manifest says {sorted(wanted)}")
