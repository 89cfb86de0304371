"""A simulated accelerator: answers as late as a real one would, without using the CPU. For tests and benchmarks."""

from __future__ import annotations

from functools import partial

import numpy as np

from f2pnet.backends.base import Answer, Backend, BackendFacts, Batch, Outputs
from f2pnet.backends.onnx_runtime import OnnxRuntimeBackend
from f2pnet.backends.simulated.device import Fault, SimulatedDevice
from f2pnet.config.simulated import SimulatedSpec
from f2pnet.engine.bundle import Bundle, OutputSpec, Precision

DEPTH = 2
SHOWN = 0.9
"""Probability inside a defect."""
SIDE_SHARE = 8
"""A defect's sides are the map's, divided by this."""


class SimulatedBackend(Backend):
    """Takes a bundle for its shapes and, where `spec` says so, for its answers."""

    def __init__(
        self,
        bundle: Bundle,
        spec: SimulatedSpec,
        *,
        threads: int | None = None,
        precision: Precision | None = None,
    ) -> None:
        manifest = bundle.manifest
        self._spec = spec
        self._engine = (
            OnnxRuntimeBackend(bundle, device="cpu", threads=threads, precision=precision)
            if spec.defect_share is None
            else None
        )
        most = spec.max_batch if self._engine is None else min(spec.max_batch, self._engine.facts.max_batch)
        super().__init__(
            BackendFacts("simulated", "simulated", most, manifest.network.image_size, depth=DEPTH), manifest.outputs
        )
        self._device = SimulatedDevice(spec.device_file)
        self._sound = {output.name: _one_answer(output, defect=False) for output in manifest.outputs}
        self._defective = {output.name: _one_answer(output, defect=True) for output in manifest.outputs}
        self._owed = 0.0  # defects that the images so far should have shown, beyond those that they did

    def _run(self, batch: Batch) -> Outputs:
        return self._start(batch)()

    def _start(self, batch: Batch) -> Answer:
        done_ns, fault = self._device.submit(self._spec.service_s(len(batch)))
        outputs = self._answers(len(batch)) if self._engine is None else self._engine.run(batch)
        return partial(self._collect, outputs, done_ns, fault)

    def _collect(self, outputs: Outputs, done_ns: int, fault: Fault | None) -> Outputs:
        self._device.wait(done_ns, fault)
        if fault == "nan":
            return {name: np.full_like(values, np.nan) for name, values in outputs.items()}
        return outputs

    def close(self) -> None:
        """Let go of the device."""
        self._device.close()
        if self._engine is not None:
            self._engine.close()

    def _answers(self, count: int) -> Outputs:
        chosen = [self._defective if self._is_next_defective() else self._sound for _ in range(count)]
        return {name: np.stack([answer[name] for answer in chosen]) for name in self._sound}

    def _is_next_defective(self) -> bool:
        self._owed += self._spec.defect_share or 0.0
        if self._owed < 1.0 - 1e-9:
            return False
        self._owed -= 1.0
        return True


def _one_answer(output: OutputSpec, *, defect: bool) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """An image without a defect, or with one square defect in the middle; its class is the first one."""
    answer = np.zeros(output.shape, np.float32)
    if not defect:
        return answer
    if not output.shape:
        return np.float32(SHOWN) + answer
    height, width = output.shape[-2:]
    rows, columns = (
        slice((side - max(1, side // SIDE_SHARE)) // 2, (side + max(1, side // SIDE_SHARE)) // 2)
        for side in (height, width)
    )
    plane = answer[0] if answer.ndim == 3 else answer
    plane[rows, columns] = SHOWN
    return answer
