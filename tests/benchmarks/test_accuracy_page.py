from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.accuracy_page import lead, page


def a_run(iou: float, seed: int, network: str = "f2pnet") -> dict[str, Any]:
    sheet = {
        "protocol": "auto",
        "model": "x",
        "values": {"iou": iou, "frame_recall": 0.9},
        "intervals": {"iou": [iou - 0.1, iou + 0.1]},
        "pixels_by_part": {"a": [int(1000 * iou), 1000 - int(1000 * iou), 0], "b": [10, 0, 0]},
    }
    return {"run": {"seed": seed, "network": network, "images_seen": 6000}, "sheets": [sheet]}


def test_seeds_are_one_row_with_mean_interval_and_range() -> None:
    kept = {"neu-64-f2pnet-s1": a_run(0.5, 1), "neu-64-f2pnet-s2": a_run(0.6, 2)}
    text = page([*kept, "neu-64-f2pnet-s3"], kept)
    assert "| F2P-Net nano, from scratch, 64 shots | auto | 2 | 6,000 | 0.550 (0.45-0.65) [0.500..0.600] |" in text
    assert "Not trained yet: `neu-64-f2pnet-s3`." in text


def test_a_page_without_any_run_names_them_all() -> None:
    text = page(["mt-full-unet-s1"], {})
    assert text.count("No run is finished.") == 6
    assert "`mt-full-unet-s1`" in text


def test_an_ablation_stands_under_the_run_it_changes() -> None:
    kept = {"mt-full-f2pnet-s1": a_run(0.5, 1), "mt-full-f2pnet-without-cnn-s1": a_run(0.4, 1)}
    part = page(list(kept), kept).split("## What each module brings")[1]
    assert part.index("| F2P-Net nano, from scratch |") < part.index("| without cnn |")


def test_the_lead_is_measured_on_the_same_parts() -> None:
    rng = np.random.default_rng(0)
    theirs = {f"{n}": [int(v) for v in rng.integers(100, 1000, 3)] for n in range(40)}
    ours = {part: [tp + 50, fp, fn] for part, (tp, fp, fn) in theirs.items()}
    points, low, high = lead([ours], [theirs])
    totals = np.array(list(theirs.values())).sum(axis=0)
    gain = 100 * ((totals[0] + 2000) / (totals.sum() + 2000) - totals[0] / totals.sum())
    assert points == pytest.approx(gain)
    assert 0 < low < points < high


def test_pretrained_networks_are_compared_with_each_other_alone() -> None:
    kept = {
        "mt-16-vit_t-s1": a_run(0.5, 1), "mt-16-unet_imagenet-s1": a_run(0.4, 1), "mt-64-unet-s1": a_run(0.1, 1),
    }  # fmt: skip
    text = page(list(kept), kept)
    assert "Foreground IoU of F2P-Net vit_t, pretrained less that of U-Net, pretrained, on the same parts: +9.9" in text
    assert "less that of U-Net, from scratch" not in text


def test_new_materials_are_averaged_over_those_that_both_networks_have() -> None:
    kept = {
        "pcb-16-from_base-s1": a_run(0.6, 1), "pcb-16-unet_imagenet-s1": a_run(0.5, 1),
        "aitex-16-from_base-s1": a_run(0.4, 1), "aitex-16-unet_imagenet-s1": a_run(0.2, 1),
        "masonry-16-from_base-s1": a_run(0.9, 1),
    }  # fmt: skip
    part = page(list(kept), kept).split("## New materials")[1]
    assert "mean over 2 materials: +15.0 points" in part
    assert "| Masonry: F2P-Net vit_t, from the base | auto | 1 |" in part
