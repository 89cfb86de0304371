"""What a run needs to go on as if it had not been cut: `last.pth`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from f2pnet.errors import ConfigError, MissingResource
from training.loop.ema import AveragedWeights
from training.pretrained.start import Prior, priors_of
from training.recipe import TrainingRecipe

FORMAT = "f2pnet-training-state-2"


@dataclass
class RunState:
    """The moving parts of a run.

    `priors` are the files it started from, `step` is the number of steps done, `best` the best selection figure so far,
    `stale` the validations since then.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    averaged: AveragedWeights
    priors: list[Prior] = field(default_factory=list)
    step: int = 0
    best: float = float("-inf")
    stale: int = 0

    def save(self, path: Path, recipe: TrainingRecipe) -> None:
        """Write all of it, whole or not at all."""
        content = {
            "format": FORMAT,
            "recipe": recipe.model_dump_json(),
            "step": self.step,
            "best": self.best,
            "stale": self.stale,
            "priors": [prior.facts() for prior in self.priors],
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": self.averaged.network.state_dict(),
        }
        unfinished = path.with_name(path.name + ".part")
        torch.save(content, unfinished)
        unfinished.replace(path)

    def restore(self, path: Path, recipe: TrainingRecipe) -> None:
        """Load a saved run. Raises MissingResource without a file, ConfigError when it belongs to another recipe."""
        content = _read(path)
        if not _is_recipe(content["recipe"], recipe):
            raise ConfigError(
                f"{path} was made by another recipe: resume with that one, or start anew without --resume"
            )
        self.step, self.best, self.stale = content["step"], content["best"], content.get("stale", 0)
        self.priors = priors_of(content, str(path))
        self.network.load_state_dict(content["network"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.averaged.network.load_state_dict(content["averaged"])


def _is_recipe(text: str, recipe: TrainingRecipe) -> bool:
    """Compared as recipes: a run saved before a key existed had that key's default."""
    try:
        return TrainingRecipe.model_validate_json(text) == recipe
    except ValidationError:
        return False


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MissingResource(f"nothing to resume: no {path}; start without --resume")
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever a damaged file leads it to
        raise ConfigError(f"{path} is damaged ({error}): start anew without --resume") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ConfigError(f"{path} is no training state of this version: start anew without --resume")
    return content
