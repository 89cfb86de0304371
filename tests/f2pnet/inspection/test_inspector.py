"""Images in, verdicts out, on a real runtime with an engine whose answer is known: brightness is probability."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from f2pnet import Inspector, Recipe, Verdict
from f2pnet.backends import open_backend
from f2pnet.engine.bundle import Bundle, InputSpec
from f2pnet.errors import BackendError, ConfigError
from tests.toy_engine import SIDE, write_toy_bundle

Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_toy_bundle(tmp_path_factory.mktemp("engines") / "toy")


def open_toy(bundle: Bundle, **recipe: Any) -> Inspector:
    return Inspector.open(bundle.folder, Recipe.model_validate(recipe), threads=1)


def dark(height: int = SIDE, width: int = SIDE) -> Image:
    return np.full((height, width, 3), 20, np.uint8)


def with_spot(image: Image, x: int, y: int, width: int, height: int, value: int = 230) -> Image:
    image[y : y + height, x : x + width] = value
    return image


def test_a_clean_image_is_ok(toy: Bundle) -> None:
    with open_toy(toy) as inspector:
        result = inspector.inspect(dark())

    assert (result.verdict, result.defects, result.reason) == (Verdict.OK, [], None)
    assert result.score == pytest.approx(20 / 255, abs=1e-3)


def test_a_spot_is_found_where_it_is(toy: Bundle) -> None:
    with open_toy(toy) as inspector:
        result = inspector.inspect(with_spot(dark(), 10, 20, 8, 4))

    (defect,) = result.defects
    assert result.verdict == Verdict.NG
    assert (defect.class_name, defect.bbox_px, defect.area_px) == ("defect", (10, 20, 8, 4), 32)
    assert defect.score == pytest.approx(230 / 255, abs=1e-3)
    assert sorted(defect.polygon_px) == [(10, 20), (10, 23), (17, 20), (17, 23)]


def test_the_result_names_engine_recipe_device_and_times(toy: Bundle) -> None:
    with open_toy(toy) as inspector:
        result = inspector.inspect(dark())

    assert result.engine == toy.engine_id
    assert result.recipe == Recipe().recipe_id
    assert result.device == "cpu"
    assert result.timings_ms.engine is not None
    assert result.timings_ms.postprocess is not None


def test_positions_are_in_source_pixels_whatever_the_frame_size(toy: Bundle) -> None:
    frame = with_spot(dark(4 * SIDE, 8 * SIDE), 160, 64, 80, 32)

    with open_toy(toy) as inspector:
        (defect,) = inspector.inspect(frame).defects

    x, y, width, height = defect.bbox_px
    assert (x, y, width, height) == pytest.approx((160, 64, 80, 32), abs=4)


@pytest.mark.parametrize(("height", "width"), [(4 * SIDE, 2 * SIDE), (2 * SIDE, 4 * SIDE), (300, 131)])
def test_a_letterboxed_frame_is_reported_in_its_own_pixels(toy: Bundle, height: int, width: int) -> None:
    letterboxed = Bundle(toy.folder, toy.manifest.model_copy(update={"input": InputSpec(resize="letterbox")}))
    frame = with_spot(dark(height, width), 24, 40, 40, 48)

    with Inspector(letterboxed, open_backend("onnxruntime", letterboxed, threads=1), Recipe()) as inspector:
        (defect,) = inspector.inspect(frame).defects  # the light filling beside the image is no defect
        probability = inspector.probability_map(frame)

    assert defect.bbox_px == pytest.approx((24, 40, 40, 48), abs=4)
    assert probability.shape == (height, width)
    assert probability[-4:, -4:].max() == pytest.approx(20 / 255, abs=1e-2)


def test_a_grey_image_is_inspected_like_its_three_channel_copy(toy: Bundle) -> None:
    color = with_spot(dark(), 5, 5, 9, 9)

    with open_toy(toy) as inspector:
        assert inspector.inspect(color[:, :, 0]).defects == inspector.inspect(color).defects


def test_a_batch_of_mixed_sizes_equals_one_by_one(toy: Bundle) -> None:
    rng = np.random.default_rng(3)
    frames = [
        with_spot(dark(int(height), int(width)), int(x), 9, 12, 7)
        for height, width, x in zip(
            rng.integers(40, 200, 11), rng.integers(60, 200, 11), rng.integers(0, 40, 11), strict=True
        )
    ]

    with open_toy(toy) as inspector:
        together = inspector.inspect_batch(frames)
        one_by_one = [inspector.inspect(frame) for frame in frames]

    assert [(r.verdict, r.score, r.defects) for r in together] == [(r.verdict, r.score, r.defects) for r in one_by_one]


def test_an_empty_batch_is_answered_with_nothing(toy: Bundle) -> None:
    with open_toy(toy) as inspector:
        assert inspector.inspect_batch([]) == []


def test_the_mask_is_what_was_reported(toy: Bundle) -> None:
    frame = with_spot(with_spot(dark(), 10, 20, 8, 4), 50, 50, 2, 2)

    with open_toy(toy, min_area={"px": 10}) as inspector:
        result, mask = inspector.inspect_with_mask(frame)

    assert len(result.defects) == 1
    expected = np.zeros((SIDE, SIDE), np.uint8)
    expected[20:24, 10:18] = 255
    np.testing.assert_array_equal(mask, expected)


def test_the_probability_map_is_the_engines_own(toy: Bundle) -> None:
    frame = np.arange(SIDE * SIDE, dtype=np.uint32).reshape(SIDE, SIDE).astype(np.uint8)

    with open_toy(toy, roi={"include": [[[0, 0], [3, 0], [0, 3]]]}) as inspector:
        probability = inspector.probability_map(frame)

    np.testing.assert_allclose(probability, frame / np.float32(255), atol=1e-6)


def test_a_defect_outside_the_roi_does_not_count(toy: Bundle) -> None:
    left_half = {"include": [[[0, 0], [31, 0], [31, 63], [0, 63]]]}

    with open_toy(toy, roi=left_half) as inspector:
        assert inspector.inspect(with_spot(dark(), 40, 10, 8, 8)).verdict == Verdict.OK
        assert inspector.inspect(with_spot(dark(), 8, 10, 8, 8)).verdict == Verdict.NG


def test_a_defect_in_an_excluded_polygon_does_not_count(toy: Bundle) -> None:
    hole = {"exclude": [[[30, 0], [63, 0], [63, 63], [30, 63]]]}

    with open_toy(toy, roi=hole) as inspector:
        assert inspector.inspect(with_spot(dark(), 40, 10, 8, 8)).verdict == Verdict.OK
        assert inspector.inspect(with_spot(dark(), 8, 10, 8, 8)).verdict == Verdict.NG


def test_a_frame_that_the_roi_misses_is_never_ok(toy: Bundle) -> None:
    far_away = {"include": [[[900, 900], [990, 900], [990, 990]]]}

    with open_toy(toy, roi=far_away) as inspector:
        result = inspector.inspect(dark())

    assert (result.verdict, result.reason, result.score) == (Verdict.NOT_INSPECTED, "roi_outside_frame", None)


def test_tiles_find_what_one_piece_would_blur_away(toy: Bundle) -> None:
    frame = with_spot(dark(600, 700), 333, 290, 3, 3, value=255)

    with open_toy(toy) as whole, open_toy(toy, tiles={"size_px": SIDE, "overlap_px": 8}) as tiled:
        assert whole.inspect(frame).verdict == Verdict.OK
        (defect,) = tiled.inspect(frame).defects

    assert (defect.bbox_px, defect.area_px) == ((333, 290, 3, 3), 9)


def test_a_defect_across_tile_borders_is_one_defect(toy: Bundle) -> None:
    frame = with_spot(dark(200, 300), 20, 90, 250, 6)

    with open_toy(toy, tiles={"size_px": SIDE, "overlap_px": 16}) as inspector:
        (defect,) = inspector.inspect(frame).defects

    assert (defect.bbox_px, defect.area_px) == ((20, 90, 250, 6), 1500)


def test_the_engines_own_thresholds_hold_without_a_recipe(tmp_path: Path) -> None:
    strict = write_toy_bundle(tmp_path / "strict", thresholds={"pixel": 0.95, "score": 0.0, "min_area_px": 0})
    coarse = write_toy_bundle(tmp_path / "coarse", thresholds={"pixel": 0.5, "score": 0.0, "min_area_px": 50})
    gated = write_toy_bundle(tmp_path / "gated", thresholds={"pixel": 0.5, "score": 0.95, "min_area_px": 0})
    frame = with_spot(dark(), 10, 20, 8, 4)

    for bundle in (strict, coarse, gated):
        with Inspector.open(bundle.folder, threads=1) as inspector:
            assert inspector.inspect(frame).verdict == Verdict.OK


def test_a_recipe_overrides_the_engines_thresholds(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / "toy", thresholds={"pixel": 0.95, "score": 0.95, "min_area_px": 50})
    own = {"thresholds": {"default": 0.6}, "score_gate": 0, "min_area": {"px": 4}}

    with open_toy(bundle, **own) as inspector:
        assert inspector.inspect(with_spot(dark(), 10, 20, 8, 4)).verdict == Verdict.NG


@pytest.mark.parametrize(("limit", "verdict"), [(229 / 255, Verdict.NG), (231 / 255, Verdict.OK)])
def test_the_pixel_threshold_is_a_sharp_limit(toy: Bundle, limit: float, verdict: Verdict) -> None:
    with open_toy(toy, thresholds={"default": limit}) as inspector:
        assert inspector.inspect(with_spot(dark(), 10, 20, 8, 4, value=230)).verdict == verdict


def test_each_region_gets_its_class_and_that_class_its_threshold(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / "toy", classes=["rust", "paint"])  # red and blue, in that order
    frame = dark()
    frame[10:20, 10:20] = (60, 150, 250)  # BGR: mostly red, brightness 153
    frame[40:50, 40:50] = (250, 150, 60)  # mostly blue, the same brightness

    with open_toy(bundle) as even, open_toy(bundle, thresholds={"per_class": {"paint": 0.9}}) as tolerant:
        both = even.inspect(frame)
        rust_only = tolerant.inspect(frame)

    assert {(d.class_name, d.bbox_px) for d in both.defects} == {
        ("rust", (10, 10, 10, 10)),
        ("paint", (40, 40, 10, 10)),
    }
    assert [d.class_name for d in rust_only.defects] == ["rust"]


def test_classes_survive_tiling(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / "toy", classes=["rust", "paint"])
    frame = dark(150, 150)
    frame[30:40, 50:90] = (60, 150, 250)
    frame[100:110, 50:90] = (250, 150, 60)

    with open_toy(bundle, tiles={"size_px": SIDE, "overlap_px": 8}) as inspector:
        found = {(d.class_name, d.bbox_px) for d in inspector.inspect(frame).defects}

    assert found == {("rust", (50, 30, 40, 10)), ("paint", (50, 100, 40, 10))}


def test_severity_decides_what_is_rejected(toy: Bundle) -> None:
    rules = {
        "mm_per_px": 0.5,
        "severity": {
            "rules": [{"min_area_mm2": 20, "severity": "critical"}, {"min_area_px": 20, "severity": "major"}],
            "default": "info",
            "reject_from": "major",
        },
    }
    with open_toy(toy, **rules) as inspector:
        tiny = inspector.inspect(with_spot(dark(), 10, 10, 3, 3))
        mixed = inspector.inspect(with_spot(with_spot(with_spot(dark(), 10, 10, 3, 3), 20, 20, 5, 5), 40, 40, 10, 10))

    assert (tiny.verdict, [d.severity for d in tiny.defects]) == (Verdict.OK, ["info"])
    assert mixed.verdict == Verdict.NG
    assert [(d.severity, d.area_mm2) for d in mixed.defects] == [("critical", 25.0), ("major", 6.25), ("info", 2.25)]


def test_noise_all_over_is_reported_with_a_bound(toy: Bundle) -> None:
    frame = dark(256, 256)
    frame[::4, ::4] = 255

    with open_toy(toy, tiles={"size_px": SIDE}) as inspector:
        result = inspector.inspect(frame)

    assert result.verdict == Verdict.NG
    assert len(result.defects) == 128


def test_a_frame_flooded_with_regions_is_ng_however_harmless_each_is(toy: Bundle) -> None:
    frame = dark(256, 256)
    frame[::4, ::4] = 255
    harmless = {"default": "info", "reject_from": "critical"}

    with open_toy(toy, tiles={"size_px": SIDE}, severity=harmless) as inspector:
        assert inspector.inspect(frame).verdict == Verdict.NG
        assert inspector.inspect(frame[:120, :120]).verdict == Verdict.OK


@pytest.mark.parametrize("poison", [float("nan"), 40.0])
def test_an_engine_that_answers_nonsense_is_an_error_not_an_ok(tmp_path: Path, poison: float) -> None:
    bundle = write_toy_bundle(tmp_path / "toy", poison=poison)

    with open_toy(bundle) as inspector, pytest.raises(BackendError, match="wanted probabilities"):
        inspector.inspect(with_spot(dark(), 1, 1, 2, 2))


@pytest.mark.parametrize(
    "image",
    [np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8), np.uint16), np.zeros((0, 8, 3), np.uint8), None, [[1, 2]]],
    ids=["four channels", "16 bit", "empty", "unread file", "list"],
)
def test_what_is_no_image_is_refused(toy: Bundle, image: Any) -> None:
    with open_toy(toy) as inspector, pytest.raises(ConfigError, match="wanted"):
        inspector.inspect(image)


def test_views_into_other_arrays_are_inspected(toy: Bundle) -> None:
    frame = with_spot(dark(2 * SIDE, 2 * SIDE), 100, 100, 10, 10)

    with open_toy(toy) as inspector:
        flipped = inspector.inspect(frame[::-1, ::-1])
        assert flipped.defects == inspector.inspect(np.ascontiguousarray(frame[::-1, ::-1])).defects


def test_a_recipe_for_other_classes_is_refused(toy: Bundle) -> None:
    with pytest.raises(ConfigError, match="speaks of class rust; this engine knows defect"):
        open_toy(toy, thresholds={"per_class": {"rust": 0.4}})


def test_the_null_backend_sees_nothing_and_reads_nothing(toy: Bundle) -> None:
    with Inspector.open(toy.folder, backend="null") as inspector:
        results = inspector.inspect_batch([with_spot(dark(1080, 1920), 9, 9, 99, 99)] * 3)

    assert {(r.verdict, r.device, r.score) for r in results} == {(Verdict.OK, "null", 0.0)}


def test_warm_up_runs_the_engine(toy: Bundle) -> None:
    with open_toy(toy) as inspector:
        assert [*inspector.warm_up(4)] == [1]
        assert inspector.warm_up()[1] > 0


def test_the_public_api_imports_without_heavy_or_optional_packages() -> None:
    code = (
        "import sys; from f2pnet import Inspector, Recipe, load_recipe; "
        "print([name for name in ('torch', 'zmq', 'redis', 'onnxruntime', 'models') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout.strip() == "[]"


def test_the_results_survive_the_way_through_json(toy: Bundle) -> None:
    with open_toy(toy) as inspector:
        result = inspector.inspect(with_spot(dark(), 10, 20, 8, 4))

    assert type(result).from_json(result.to_json()) == result


def test_a_file_read_by_opencv_goes_straight_in(toy: Bundle, tmp_path: Path) -> None:
    path = str(tmp_path / "part.png")
    cv2.imwrite(path, with_spot(dark(), 10, 20, 8, 4))

    with open_toy(toy) as inspector:
        assert inspector.inspect(np.asarray(cv2.imread(path), np.uint8)).verdict == Verdict.NG
