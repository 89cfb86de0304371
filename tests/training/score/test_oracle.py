from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from models.configuration import network_config
from models.decoders.prompts import PADDING, POSITIVE
from models.f2pnet import build_network
from training.data.images import fit_image, read_pair
from training.data.records import read_records
from training.metrics.evaluate import network_predictor, predict
from training.score.oracle import box_of, oracle_answers, point_of, prompted_defects, prompts_for


def a_mask() -> np.ndarray:
    """A block of 10 x 20 px at row 5, column 30; a speck; two blocks that touch at a corner."""
    mask = np.zeros((50, 100), np.uint8)
    mask[5:15, 30:50] = 1
    mask[40, 2] = 1
    mask[20:30, 70:80] = mask[30:40, 80:90] = 1
    return mask


def test_defects_are_8_connected_and_specks_get_no_prompt() -> None:
    assert sorted(int(defect.sum()) for defect in prompted_defects(a_mask())) == [200, 200]


def test_a_box_ends_one_pixel_after_its_defect() -> None:
    assert sorted(box_of(defect) for defect in prompted_defects(a_mask())) == [(30, 5, 50, 15), (70, 20, 90, 40)]


def test_a_point_lies_inside_a_ring() -> None:
    rows, columns = np.indices((40, 40))
    distance = np.hypot(rows - 20, columns - 20)
    ring = ((distance > 8) & (distance < 16)).astype(np.uint8)
    x, y = point_of(ring)
    assert 10 < np.hypot(x - 20, y - 20) < 14


def test_prompts_are_stretched_as_the_image_is() -> None:
    block = prompted_defects(a_mask())[:1]
    boxes = prompts_for(block, 200, "oracle-box")
    assert boxes.points.tolist() == [[[[60.0, 20.0], [100.0, 60.0]]]]
    points = prompts_for(block, 200, "oracle-point")
    assert points.labels.tolist() == [[[POSITIVE, PADDING]]]
    x, y = points.points[0, 0, 0].tolist()
    assert 60 < x < 100
    assert 20 < y < 60


def test_good_images_score_and_pixel_map_come_from_the_plain_pass(spots: Path) -> None:
    torch.manual_seed(0)
    network = build_network(network_config("nano", 64)).eval()
    records = read_records(spots, "test.json")
    plain = predict(network_predictor(network), [fit_image(read_pair(record)[0], 64) for record in records], 4)
    prompted = oracle_answers(network, records, "oracle-box").predicted
    assert np.allclose(prompted.score, plain.score, atol=1e-5)
    assert np.allclose(prompted.pixel_map, plain.pixel_map, atol=1e-5)
    same = [bool(np.allclose(prompted.mask[i], plain.mask[i], atol=1e-5)) for i in range(len(records))]
    assert same == [record.label == 0 for record in records]
