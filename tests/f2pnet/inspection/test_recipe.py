"""The recipe: strict to read, and every setting means what docs/recipes.md says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from f2pnet.engine.bundle import Thresholds
from f2pnet.errors import ConfigError, ExitCode, MissingResource
from f2pnet.inspection.recipe import Recipe, load_recipe

REPOSITORY = Path(__file__).resolve().parents[3]
ENGINE = Thresholds(pixel=0.3, score=0.2, min_area_px=7)


def recipe(**content: Any) -> Recipe:
    return Recipe.model_validate(content)


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs/recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_loads(path: Path) -> None:
    assert load_recipe(path).name == path.stem


def test_an_empty_recipe_leaves_everything_to_the_engine() -> None:
    nothing = Recipe()

    assert nothing.pixel_limits(ENGINE, ["a", "b"]) == [0.3, 0.3]
    assert nothing.gate(ENGINE) == 0.2
    assert nothing.min_area_px(ENGINE) == 7
    assert nothing.area_mm2(100) is None


def test_zero_is_a_value_of_its_own() -> None:
    open_wide = recipe(score_gate=0, min_area={"px": 0}, thresholds={"default": 0})

    assert (open_wide.gate(ENGINE), open_wide.min_area_px(ENGINE)) == (0, 0)
    assert open_wide.pixel_limits(ENGINE, ["a"]) == [0]


def test_a_class_may_have_its_own_threshold() -> None:
    own = recipe(thresholds={"default": 0.6, "per_class": {"crack": 0.4}})

    assert own.pixel_limits(ENGINE, ["pit", "crack"]) == [0.6, 0.4]


def test_millimetres_follow_the_pixel_size() -> None:
    fine = recipe(mm_per_px=0.5, min_area={"mm2": 2.0})

    assert fine.min_area_px(ENGINE) == 8
    assert fine.area_mm2(8) == 2.0


def test_the_first_rule_that_fits_gives_the_severity() -> None:
    severity = recipe(
        severity={
            "rules": [
                {"class": "crack", "min_score": 0.9, "severity": "critical"},
                {"class": "crack", "severity": "major"},
                {"min_area_px": 100, "severity": "minor"},
            ],
            "default": "info",
        }
    ).severity

    assert severity.of("crack", 0.95, 1, None) == "critical"
    assert severity.of("crack", 0.5, 500, None) == "major"
    assert severity.of("pit", 0.5, 100, None) == "minor"
    assert severity.of("pit", 0.99, 99, None) == "info"


@pytest.mark.parametrize(("reject_from", "rejected"), [("info", 4), ("minor", 3), ("major", 2), ("critical", 1)])
def test_everything_from_reject_from_upwards_is_rejected(reject_from: str, rejected: int) -> None:
    rules = recipe(severity={"reject_from": reject_from}).severity

    assert sum(rules.rejects(severity) for severity in ("info", "minor", "major", "critical")) == rejected


def test_the_id_follows_the_content_and_not_the_writing(tmp_path: Path) -> None:
    plain = load_recipe(write(tmp_path, "name: steel\nmm_per_px: 0.1\n"))
    commented = load_recipe(write(tmp_path, "# the same\nmm_per_px: 1.0e-1\nname: steel # really\n"))
    other = load_recipe(write(tmp_path, "name: steel\nmm_per_px: 0.2\n"))

    assert len(plain.recipe_id) == 12
    assert plain.recipe_id == commented.recipe_id != other.recipe_id


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("min_aera: {px: 3}", "min_aera: unknown key; did you mean 'min_area'"),
        ("thresholds: {default: 50}", "thresholds.default: .*less than or equal to 1.*found 50"),
        ("thresholds: {default: .nan}", "thresholds.default"),
        ("min_area: {px: 3, mm2: 1}", "give px or mm2, not both"),
        ("min_area: {mm2: 1}", "min_area.mm2 need mm_per_px"),
        ("severity: {rules: [{min_area_mm2: 1, severity: major}]}", "min_area_mm2 need mm_per_px"),
        ("severity: {rules: [{severity: fatal}]}", "'info', 'minor', 'major' or 'critical'"),
        ("roi: {include: [[[0, 0], [1, 1]]]}", "at least 3 items"),
        ("tiles: {size_px: 100, overlap_px: 60}", "wanted at most half of size_px 100"),
        ("mm_per_px: 0", "greater than 0"),
        ("[1, 2]", "wanted keys and values"),
    ],
)
def test_a_wrong_recipe_is_refused_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_recipe(write(tmp_path, text))
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_missing_recipe_is_something_to_bring(tmp_path: Path) -> None:
    with pytest.raises(MissingResource, match="no configuration file"):
        load_recipe(tmp_path / "nowhere.yaml")
