"""What every configuration file shares: strict keys with a suggestion, and paths relative to the file they stand in."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo

from f2pnet.address import HIDDEN, looks_like_address
from f2pnet.errors import ConfigError
from f2pnet.text import printable
from f2pnet.yaml_file import read_yaml

SECRET_KEYS = ("url", "redis", "endpoint", "password", "secret", "token", "key", "user", "login")
"""Keys whose values are never repeated in a message, whatever they look like."""


class StrictModel(BaseModel):
    """Base of all configuration: unknown keys are errors, values do not change after loading."""

    # Values may hold passwords, and the texts of pydantic's own errors would repeat them.
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)


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
    return parse_config(read_yaml(path), model, source=printable(path), folder=path.parent.resolve())


def parse_config(content: object, model: type[M], *, source: str, folder: Path | None = None) -> M:
    """Check `content` (as read from YAML or JSON) against `model`; `source` names it in messages."""
    if not isinstance(content, dict):
        raise ConfigError(f"{source}: wanted keys and values, found {type(content).__name__}")
    try:
        return model.model_validate(content, context={"folder": folder})
    except ValidationError as error:
        problems = "\n".join(f"  {_describe(problem, model)}" for problem in error.errors())
        raise ConfigError(f"{source} does not fit:\n{problems}") from None


def _describe(problem: Any, model: type[BaseModel]) -> str:
    place = [HIDDEN if looks_like_address(str(part)) else printable(part) for part in problem["loc"]]
    where = ".".join(place) or "(top)"
    if problem["type"] == "extra_forbidden":
        known = set(_known_keys(model)) - {place[-1]}
        nearest = difflib.get_close_matches(place[-1], sorted(known), n=1, cutoff=0.5)
        return f"{where}: unknown key" + (f"; did you mean '{nearest[0]}'?" if nearest else "")
    problem_text = _without_address(problem["msg"].removeprefix("Value error, "), problem.get("ctx", {}).get("tag"))
    seen = problem.get("input")
    if problem["type"] == "missing" or isinstance(seen, dict | list) or _may_be_secret(place, seen):
        return f"{where}: {problem_text}"
    return f"{where}: {problem_text} (found {printable(repr(seen))})"


def _without_address(problem_text: str, tag: str | None) -> str:
    """The text of a wrong `kind` repeats it, even where it is an address."""
    return problem_text.replace(tag, HIDDEN) if tag is not None and looks_like_address(tag) else problem_text


def _may_be_secret(place: list[str], seen: object) -> bool:
    keys = [part for part in place if not part.isdigit()]
    named = bool(keys) and any(word in keys[-1] for word in SECRET_KEYS)
    return isinstance(seen, str | bytes) and (named or looks_like_address(str(seen)))


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
