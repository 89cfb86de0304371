"""A small network's checkpoint and a few pictures to prove its engine on; made once, as export takes seconds."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from export.exporter import ExportOptions, export_bundle
from export.formats.artifacts import Kind
from f2pnet.engine.bundle import Bundle
from models.configuration import network_config
from models.f2pnet import F2PNet, build_network
from models.files.checkpoint import save_checkpoint

torch.set_num_threads(1)

FACTS = {
    "datasets": ["spots"],
    "recipe": {"shots": None},
    "thresholds": {"pixel": 0.45, "score": 0.1, "min_area_px": 5},
    "defect_output": "pixel_map",
    "notes": "Made for a test.",
}


@dataclass(frozen=True)
class Exported:
    """A bundle with what it was made from."""

    bundle: Bundle
    network: F2PNet
    checkpoint: Path
    pictures: Path

    def build(self, network: F2PNet, path: Path, static_batch: int | None) -> dict[str, tuple[int, ...]]:
        """Stands in for the exporter, which takes seconds: the graph that was made already."""
        manifest = self.bundle.manifest
        shutil.copyfile(self.bundle.path(manifest.artifacts[0]), path)
        return {output.name: output.shape for output in manifest.outputs}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set folder with six grey and coloured pictures of different sizes."""
    folder = tmp_path_factory.mktemp("data") / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    records = []
    for number in range(6):
        shape = (50 + 20 * number, 90) if number % 2 else (80, 60 + 10 * number, 3)
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, shape, np.uint8))
        records.append({"id": str(number), "image": f"{number}.png", "mask": None, "label": 0})
    for name in ("test.json", "train.json"):
        (folder / name).write_text(json.dumps(records))
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Exported:
    torch.manual_seed(0)
    network = build_network(network_config("nano", 64)).eval()
    folder = tmp_path_factory.mktemp("exported")
    save_checkpoint(folder / "best.pth", network, FACTS)
    kinds: list[Kind] = [("onnx", "fp32"), ("onnx", "fp16")]
    options = ExportOptions(kinds, verify=[pictures], max_batch=4, split=True)
    bundle = export_bundle(folder / "best.pth", folder / "small", options)
    return Exported(bundle, network, folder / "best.pth", pictures)
