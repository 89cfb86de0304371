"""The recipe: what a station calls a defect, and how bad it is (docs/recipes.md).

A recipe holds for one product at one station. Everything in it is optional; what it leaves open, the engine's own
thresholds decide. Lengths are in pixels of the source frame or, with `mm_per_px`, in millimetres.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from f2pnet.config.base import StrictModel, load_yaml
from f2pnet.engine.bundle import Probability, Thresholds
from f2pnet.errors import ConfigError

RECIPE_ID_DIGITS = 12

Severity = Literal["info", "minor", "major", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "minor", "major", "critical")
"""From harmless to worst."""

Point = tuple[FiniteFloat, FiniteFloat]
Polygon = Annotated[list[Point], Field(min_length=3)]


class PixelThresholds(StrictModel):
    """From which probability on a pixel belongs to a defect."""

    default: Probability | None = Field(default=None, description="null: the engine's own")
    per_class: dict[str, Probability] = Field(default_factory=dict, description="thresholds of single classes, by name")


class MinimumArea(StrictModel):
    """Smaller regions are ignored."""

    px: int | None = Field(default=None, ge=0, description="pixels of the source frame")
    mm2: float | None = Field(default=None, ge=0, description="needs a pixel size")

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        if self.px is not None and self.mm2 is not None:
            raise ValueError("give px or mm2, not both")
        return self


class Roi(StrictModel):
    """Where to look, as polygons of [x, y] points in pixels of the source frame."""

    include: list[Polygon] = Field(default_factory=list, description="empty: the whole frame")
    exclude: list[Polygon] = Field(default_factory=list, description="taken out of what is included")


class Tiles(StrictModel):
    """Frames larger than one tile are cut into overlapping squares, each brought to the network's input size."""

    size_px: int = Field(ge=16, description="side of a tile")
    overlap_px: int = Field(default=0, ge=0, description="at least the length of the smallest defect")

    @model_validator(mode="after")
    def _advances(self) -> Self:
        if self.overlap_px > self.size_px // 2:
            raise ValueError(f"overlap_px is {self.overlap_px}; wanted at most half of size_px {self.size_px}")
        return self


class SeverityRule(StrictModel):
    """A defect that fits all the conditions given has this severity."""

    class_name: str | None = Field(default=None, alias="class", description="null: any class")
    min_area_px: int | None = Field(default=None, ge=0, description="applies from this area on")
    min_area_mm2: float | None = Field(default=None, ge=0, description="applies from this area on; needs a pixel size")
    min_score: Probability | None = Field(None, description="applies from this score on")
    severity: Severity = Field(description="what a defect then has")

    def fits(self, class_name: str, score: float, area_px: int, area_mm2: float | None) -> bool:
        """Whether the defect meets every condition of the rule."""
        return (
            self.class_name in (None, class_name)
            and (self.min_score is None or score >= self.min_score)
            and (self.min_area_px is None or area_px >= self.min_area_px)
            and (self.min_area_mm2 is None or (area_mm2 is not None and area_mm2 >= self.min_area_mm2))
        )


class SeverityRules(StrictModel):
    """The first rule that fits decides; then the frame is NG when any defect is at least `reject_from`."""

    rules: list[SeverityRule] = Field(default_factory=list, description="the first that applies decides")
    default: Severity = Field("major", description="where no rule applies")
    reject_from: Severity = Field("minor", description="defects of this severity and above make a frame NG")

    def of(self, class_name: str, score: float, area_px: int, area_mm2: float | None) -> Severity:
        """Severity of one defect."""
        for rule in self.rules:
            if rule.fits(class_name, score, area_px, area_mm2):
                return rule.severity
        return self.default

    def rejects(self, severity: str) -> bool:
        """Whether a defect of that severity makes its frame NG."""
        return severity_rank(severity) >= severity_rank(self.reject_from)


def severity_rank(severity: str) -> int:
    """0 for the most harmless."""
    return list[str](SEVERITIES).index(severity)


class Recipe(StrictModel):
    """See docs/recipes.md and the commented files in configs/recipes/."""

    name: str = Field("default", description="name of the recipe")
    thresholds: PixelThresholds = Field(
        default_factory=PixelThresholds, description="what takes the place of the engine's own thresholds"
    )
    score_gate: Probability | None = Field(
        default=None, description="below this image score the map is not looked at; null: the engine's own, 0: no gate"
    )
    min_area: MinimumArea = Field(default_factory=MinimumArea, description="without px and mm2: the engine's own")
    mm_per_px: FiniteFloat | None = Field(default=None, gt=0, description="pixel size; null: no areas in mm2")
    roi: Roi = Field(default_factory=Roi, description="region of interest; outside of it nothing is a defect")
    tiles: Tiles | None = Field(default=None, description="null: the whole frame in one piece")
    severity: SeverityRules = Field(
        default_factory=SeverityRules, description="how bad a defect is, and from where it is NG"
    )

    @model_validator(mode="after")
    def _millimetres_need_a_pixel_size(self) -> Self:
        users = ["min_area.mm2"] * (self.min_area.mm2 is not None)
        users += ["severity.rules.min_area_mm2"] * any(rule.min_area_mm2 is not None for rule in self.severity.rules)
        if users and self.mm_per_px is None:
            raise ValueError(f"{' and '.join(users)} need mm_per_px, the size of a pixel")
        return self

    @cached_property
    def sha256(self) -> str:
        """Hash of the recipe's content; comments and the order of keys do not count (64 hex digits)."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    @property
    def recipe_id(self) -> str:
        """The first 12 digits of `sha256`, as every verdict carries them."""
        return self.sha256[:RECIPE_ID_DIGITS]

    def area_mm2(self, area_px: int) -> float | None:
        """An area in mm2, None without a pixel size."""
        return None if self.mm_per_px is None else area_px * self.mm_per_px**2

    def min_area_px(self, engine: Thresholds) -> float:
        """Smallest area of a defect, px of the source frame."""
        if self.min_area.mm2 is not None and self.mm_per_px is not None:
            return self.min_area.mm2 / self.mm_per_px**2
        return engine.min_area_px if self.min_area.px is None else self.min_area.px

    def gate(self, engine: Thresholds) -> float:
        """Image score below which the map is not looked at."""
        return engine.score if self.score_gate is None else self.score_gate

    def pixel_limits(self, engine: Thresholds, classes: list[str]) -> list[float]:
        """The pixel threshold of each class."""
        default = engine.pixel if self.thresholds.default is None else self.thresholds.default
        return [self.thresholds.per_class.get(name, default) for name in classes]

    def check_classes(self, classes: list[str]) -> None:
        """Raise ConfigError where the recipe speaks of a class that the engine does not know."""
        named = {*self.thresholds.per_class, *(rule.class_name for rule in self.severity.rules if rule.class_name)}
        unknown = sorted(named - set(classes))
        if unknown:
            raise ConfigError(
                f"recipe '{self.name}' speaks of class {', '.join(unknown)}; this engine knows {', '.join(classes)}"
            )


def load_recipe(path: Path | str) -> Recipe:
    """Read a recipe file. Raises MissingResource (no file) or ConfigError (all problems at once)."""
    return load_yaml(Path(path), Recipe)
