"""The checkpoint itself as a backend: what every exported engine is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from f2pnet.backends import Backend, BackendFacts
from f2pnet.backends.base import Batch, Outputs
from f2pnet.engine.bundle import OutputSpec
from models.deploy import deployed
from models.f2pnet import F2PNet
from models.good_only import GoodOnlyNetwork


class TorchBackend(Backend):
    """Runs the network in float32 on the CPU."""

    def __init__(
        self,
        network: F2PNet | GoodOnlyNetwork,
        outputs: Sequence[OutputSpec],
        max_batch: int,
        threads: int | None = None,
    ) -> None:
        super().__init__(BackendFacts("torch", "cpu", max_batch, network.config.image_size), list(outputs))
        self._network = deployed(network)
        self._threads = threads

    @torch.inference_mode()
    def _run(self, batch: Batch) -> Outputs:
        if self._threads is not None and self._threads != torch.get_num_threads():
            torch.set_num_threads(self._threads)  # one setting for the whole process, so set anew before each run
        values = self._network(torch.from_numpy(np.ascontiguousarray(batch)))
        return {name: value.numpy() for name, value in zip(self._network.output_names, values, strict=True)}
