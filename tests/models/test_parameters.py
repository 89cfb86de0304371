import pytest
import torch

from models import build_network, network_config
from models.parameters import main, parts

SPECIFIED_VIT_L = {
    "ViT": 308_278_272, "prompt encoder": 6_220, "prompt generator": 116_544, "hf down-projections": 263_168,
    "hf up-projection": 135_168, "auxiliary CNN": 11_176_512, "FPN": 987_136, "decoder transformer": 3_291_264,
    "output upscaling": 73_952, "SAM's mask heads": 559_232, "IoU token": 256, "mask tokens": 1_024, "hf token": 256,
    "IoU head": 771, "hf mask head": 139_808, "early ViT features": 1_082_144, "embedding features": 73_952,
    "mask features": 37_088, "image head": 257, "pixel head": 33,
}  # fmt: skip


def test_each_part_of_the_reference_has_the_size_it_was_measured_to_have() -> None:
    with torch.device("meta"):
        network = build_network(network_config("vit_l", mode="reference"))

    assert {part.name: part.parameters for part in parts(network)} == SPECIFIED_VIT_L


@pytest.mark.parametrize(
    ("size", "total", "trained"),
    [("vit_b", 106_987_745, 13_385_909), ("vit_l", 326_223_057, 14_013_861), ("vit_h", 655_615_969, 14_658_997)],
)
def test_the_totals_are_those_of_the_published_code(size: str, total: int, trained: int) -> None:
    with torch.device("meta"):
        counted = parts(build_network(network_config(size, mode="reference")))

    assert sum(part.parameters for part in counted) == total
    assert sum(part.trained for part in counted) == trained


@pytest.mark.parametrize("size", ["nano", "tiny", "vit_b"])
def test_every_parameter_belongs_to_exactly_one_part(size: str) -> None:
    with torch.device("meta"):
        network = build_network(network_config(size, num_classes=3))

    assert sum(part.parameters for part in parts(network)) == sum(p.numel() for p in network.parameters())


def test_the_nano_size_keeps_its_budget() -> None:
    with torch.device("meta"):
        network = build_network(network_config("nano", num_classes=6))

    assert sum(part.parameters for part in parts(network)) < 4_500_000


def test_the_command_prints_parts_and_total(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vit_l", "--mode", "reference"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["ViT", "308,278,272", "0"]
    assert lines[-1].split() == ["total", "326,223,057", "14,013,861"]
