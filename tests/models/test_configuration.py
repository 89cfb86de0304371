import json

import pytest

from models import SIZES, NetworkConfig, network_config


@pytest.mark.parametrize("size", SIZES)
def test_a_configuration_survives_the_way_through_json(size: str) -> None:
    config = network_config(size, num_classes=3)

    read_back = NetworkConfig.from_dict(json.loads(json.dumps(config.to_dict())))

    assert read_back == config


def test_the_maps_are_four_times_the_token_grid() -> None:
    config = network_config("vit_b", image_size=512)

    assert (config.grid, config.map_size) == (32, 128)


def test_an_unknown_size_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"vit_x.*nano, tiny, vit_t, vit_b"):
        network_config("vit_x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 250}, "image_size is 250.*multiple of 32"),
        ({"mode": "fast"}, "mode is 'fast'.*paper, reference"),
        ({"cnn": "vgg"}, "cnn is 'vgg'.*resnet18"),
        ({"cnn_norm": "layer"}, "cnn_norm is 'layer'.*batch, fixed, group"),
        ({"num_classes": 1}, "num_classes is 1.*at least 2"),
        ({"global_blocks": (1, 2, 3)}, "global_blocks.*must name 4 blocks"),
        ({"heads": 7}, "width 768 must be a multiple of heads 7"),
        ({"mode": "reference", "num_classes": 3}, "mode reference has no class map"),
    ],
)
def test_numbers_that_fit_no_network_are_refused_by_name(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network_config("vit_b", **changes)


def test_an_unknown_key_is_refused() -> None:
    values = network_config("nano").to_dict() | {"colour": "red"}

    with pytest.raises(ValueError, match=r"unknown keys.*colour"):
        NetworkConfig.from_dict(values)


def test_a_missing_key_is_refused() -> None:
    values = network_config("nano").to_dict()
    del values["width"]

    with pytest.raises(ValueError, match=r"incomplete.*width"):
        NetworkConfig.from_dict(values)
