"""What every configuration file shares: strict keys with a suggestion, and paths relative to the file they stand in."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo

from f2pnet.errors import ConfigError, MissingResource


class StrictModel(BaseModel):
    """Base of all configuration: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _relative_to_file(path: Path, info: ValidationInfo) -> Path:
    folder: Path | None = (info.context or {}).get("folder")
    path = path.expanduser()
    return path if folder is None or path.is_absolute() else folder / path


ConfigPath = Annotated[Path, AfterValidator(_relative_to_file)]
"""A path that, when relative, is meant from the folder of the file it stands in."""

M = TypeVar("M", bound=BaseModel)


def load_yaml(path: Path, model: type[M]) -> M:
    """Read one YAML file into `model`.

    Raises MissingResource when there is no such file, ConfigError (all problems at once, each with its place in the
    file and, for an unknown key, the nearest known one) when it does not fit.
    """
    if not path.is_file():
        raise MissingResource(f"no configuration file {path}: check the path")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    return parse_config(content, model, source=str(path), folder=path.parent.resolve())


def parse_config(content: object, model: type[M], *, source: str, folder: Path | None = None) -> M:
    """Check `content` (as read from YAML or JSON) against `model`; `source` names it in messages."""
    if not isinstance(content, dict):
        raise ConfigError(f"{source}: wanted keys and values, found {type(content).__name__}")
    try:
        return model.model_validate(content, context={"folder": folder})
    except ValidationError as error:
        problems = "\n".join(f"  {_describe(problem, model)}" for problem in error.errors())
        raise ConfigError(f"{source} does not fit:\n{problems}") from error


def _describe(problem: Any, model: type[BaseModel]) -> str:
    place = [str(part) for part in problem["loc"]]
    where = ".".join(place) or "(top)"
    if problem["type"] == "extra_forbidden":
        known = set(_known_keys(model)) - {place[-1]}
        nearest = difflib.get_close_matches(place[-1], sorted(known), n=1, cutoff=0.5)
        return f"{where}: unknown key" + (f"; did you mean '{nearest[0]}'?" if nearest else "")
    seen = problem.get("input")
    shown = "" if isinstance(seen, dict | list) or problem["type"] == "missing" else f" (found {seen!r})"
    return f"{where}: {problem['msg']}{shown}"


def _known_keys(model: type[BaseModel], seen: set[type[BaseModel]] | None = None) -> Iterable[str]:
    """Every key that the model or a model inside it knows."""
    seen = set() if seen is None else seen
    if model in seen:
        return
    seen.add(model)
    for name, field in model.model_fields.items():
        yield field.alias or name
        for inner in _models_in(field.annotation):
            yield from _known_keys(inner, seen)


def _models_in(annotation: Any) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)
