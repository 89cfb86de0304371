"""A backend that answers at once and sees no defect: for measuring everything but the engine."""

from __future__ import annotations

import numpy as np

from f2pnet.backends.base import Backend, BackendFacts, Batch, Device, Outputs
from f2pnet.engine.bundle import Bundle, Precision

MAX_BATCH = 256


class NullBackend(Backend):
    """Has the bundle's input size and output shapes; runs nothing, whatever the device."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: Device = "auto",
        threads: int | None = None,
        precision: Precision | None = None,
    ) -> None:
        size = bundle.manifest.network.image_size
        super().__init__(BackendFacts("null", "null", MAX_BATCH, size, reads_pixels=False), bundle.manifest.outputs)
        self._zeros = {spec.name: np.zeros((MAX_BATCH, *spec.shape), np.float32) for spec in bundle.manifest.outputs}

    def _run(self, batch: Batch) -> Outputs:
        return {name: zeros[: len(batch)] for name, zeros in self._zeros.items()}

    def buffer(self, count: int) -> Batch:
        """Nothing is ever written to it."""
        return np.broadcast_to(np.uint8(0), (count, self.facts.image_size, self.facts.image_size, 3))
