"""What `auto` takes, and that it says why."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from f2pnet.backends import Backend, BackendFacts, open_backend
from f2pnet.backends import choice as choosing
from f2pnet.backends.base import Batch, Outputs
from f2pnet.engine.bundle import Bundle
from f2pnet.errors import BackendError, MissingResource
from tests.toy_engine import write_toy_bundle


class Paced(Backend):
    """Answers zeros after a while."""

    def __init__(self, bundle: Bundle, name: str, delay_s: float, device: str = "cpu", image_s: float = 0.0) -> None:
        manifest = bundle.manifest
        super().__init__(BackendFacts(name, device, 4, manifest.network.image_size), manifest.outputs)
        self.delay_s, self.image_s, self.closed = delay_s, image_s, False

    def _run(self, batch: Batch) -> Outputs:
        time.sleep(self.delay_s + len(batch) * self.image_s)
        return {spec.name: np.zeros((len(batch), *spec.shape), np.float32) for spec in self._outputs}

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def toy(tmp_path: Path) -> Bundle:
    return write_toy_bundle(tmp_path / "toy")


def test_the_fastest_is_kept_and_the_others_are_closed(toy: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    paced = {"slow": Paced(toy, "slow", 0.05), "quick": Paced(toy, "quick", 0.001)}
    monkeypatch.setattr(choosing, "candidates", lambda *_: iter(paced))

    chosen = choosing.open_fastest(toy, "auto", None, paced.__getitem__)

    assert chosen is paced["quick"]
    assert (paced["slow"].closed, paced["quick"].closed) == (True, False)
    assert chosen.facts.why is not None
    assert chosen.facts.why.startswith("fastest of quick ")
    assert ", slow " in chosen.facts.why


def test_a_gpu_that_is_faster_in_batches_alone_is_kept(toy: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    paced = {"cpu": Paced(toy, "cpu", 0.0, image_s=0.1), "gpu": Paced(toy, "gpu", 0.2, "cuda:0")}
    monkeypatch.setattr(choosing, "candidates", lambda *_: iter(paced))

    assert choosing.open_fastest(toy, "auto", None, paced.__getitem__) is paced["gpu"]


def test_one_that_does_not_open_is_passed_over(
    toy: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def opener(name: str) -> Backend:
        if name == "broken":
            raise BackendError("refuses the file")
        return Paced(toy, name, 0.0)

    monkeypatch.setattr(choosing, "candidates", lambda *_: iter(["broken", "whole"]))
    chosen = choosing.open_fastest(toy, "auto", None, opener)
    assert (chosen.facts.name, chosen.facts.why) == ("whole", "the only one here that can run this bundle")
    assert "backend broken is passed over: refuses the file" in caplog.text


def test_a_bundle_that_nothing_here_runs_names_what_it_holds(toy: Bundle) -> None:
    with pytest.raises(MissingResource, match=r"no backend here can run a int8 file of .*, which holds fp32 onnx"):
        open_backend("auto", toy, precision="int8")


def test_a_device_that_is_absent_is_an_error_unless_a_fallback_is_allowed(
    toy: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    """Skipped where there is a GPU: there the device is not absent."""
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(MissingResource, match="device cuda"):
        open_backend("onnxruntime", toy, device="cuda")
    with open_backend("onnxruntime", toy, device="cuda", allow_fallback=True) as backend:
        assert backend.facts.device == "cpu"
    assert "the engine runs on the CPU" in caplog.text
