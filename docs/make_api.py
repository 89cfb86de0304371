"""Writes docs/api.md from the docstrings of the public Python names: `python docs/make_api.py`.

A test holds the page against what this writes.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import f2pnet

PAGE = Path(__file__).with_name("api.md")
HEAD = """# Python API

    pip install 'f2pnet[cpu]'

What `from f2pnet import ...` gives, from the docstrings (`python docs/make_api.py` writes this page). Everything else
may change. Errors derive from `F2pError`; the message names the thing, the value seen, the value wanted and the cure.

Results go on to other libraries without one of them being required:

```python
import cv2
import pandas
from f2pnet import Inspector, draw_overlay

images = [cv2.imread(path) for path in ("my-images/part.png", "my-images/other.png")]
with Inspector.open("configs/engines/surface-nano") as inspector:
    results = inspector.inspect_batch(images)
    detections = results[0].to_supervision(inspector.classes, images[0].shape)  # supervision.Detections with masks

table = pandas.DataFrame([result.to_row() for result in results])
cv2.imwrite("shown.jpg", draw_overlay(images[0], results[0]))
```

In a notebook a result shows its picture with the defects, for as long as the image is in memory, else their outlines.
"""
ORDER = (
    *("Inspector", "InspectionResult", "Defect", "Verdict", "Timings", "draw_overlay"),
    *("subscribe", "Subscription", "Alert", "subscribe_async", "AsyncSubscription", "load_recipe", "Recipe"),
)


def page() -> str:
    """The whole page."""
    things = {name: getattr(f2pnet, name) for name in (*ORDER, *f2pnet.__all__) if name != "__version__"}
    return "\n".join([HEAD, *(_section(name, thing) for name, thing in things.items())])


def _section(name: str, thing: Any) -> str:
    if not inspect.isclass(thing):
        return f"## {name}\n\n{_signature(name, thing)}\n{_text(thing)}\n"
    parts = [f"## {name}\n", _text(thing)]
    if issubclass(thing, Enum):
        parts.append("Values: " + ", ".join(f"`{member.value}`" for member in thing) + ".\n")
        return "\n".join(parts)
    fields = {name: kind for base in _with_bases(thing) for name, kind in inspect.get_annotations(base).items()}
    public = {field: kind for field, kind in fields.items() if not field.startswith("_")}
    if public and not issubclass(thing, BaseException):
        meanings = {name: text for base in _with_bases(thing) for name, text in _field_meanings(base).items()}
        parts += ["| field | type | |", "| --- | --- | --- |"]
        parts += [f"| `{field}` | `{_in_table(kind)}` | {meanings.get(field, '')} |" for field, kind in public.items()]
        parts.append("")
    for member, value in vars(thing).items():
        if member.startswith("_") or not (inspect.isfunction(value) or isinstance(value, (classmethod, property))):
            continue
        if isinstance(value, property):
            parts.append(f"### {name}.{member}\n\n{_text(value.fget)}")
        else:
            function = value.__func__ if isinstance(value, classmethod) else value
            parts.append(f"### {name}.{member}\n\n{_signature(f'{name}.{member}', function)}\n{_text(function)}")
    return "\n".join(parts)


def _with_bases(thing: type) -> list[type]:
    """The class and those of ours that it derives from, bases first; a model of pydantic knows their fields itself."""
    if issubclass(thing, BaseModel):
        return [thing]
    return [base for base in reversed(thing.__mro__) if base.__module__.startswith("f2pnet.")]


def _field_meanings(thing: type) -> dict[str, str]:
    """What the fields of a class mean: their descriptions in a pydantic model, else the strings under them."""
    if issubclass(thing, BaseModel):
        return {name: (field.description or "").replace("|", r"\|") for name, field in thing.model_fields.items()}
    (definition,) = ast.parse(inspect.getsource(thing)).body
    statements = definition.body if isinstance(definition, ast.ClassDef) else []
    return {
        field.target.id: " ".join(str(text.value.value).split()).replace("|", r"\|")
        for field, text in itertools.pairwise(statements)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


def _signature(name: str, function: Any) -> str:
    """As one would call it; an argument a line when it is long."""
    found = inspect.signature(function)
    kept = [parameter for parameter in found.parameters.values() if parameter.name not in ("self", "cls")]
    answer = "" if found.return_annotation is inspect.Signature.empty else f" -> {_kind(found.return_annotation)}"
    words = [_argument(parameter) for parameter in kept]
    line = f"{name}({', '.join(words)}){answer}"
    if len(line) > 100:
        line = f"{name}(\n" + "".join(f"    {word},\n" for word in words) + f"){answer}"
    return f"```python\n{line}\n```\n"


def _argument(parameter: inspect.Parameter) -> str:
    kind = "" if parameter.annotation is parameter.empty else f": {_kind(parameter.annotation)}"
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    return f"{parameter.name}{kind}{default}"


def _kind(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Z])", "", text)


def _in_table(annotation: Any) -> str:
    return _kind(annotation).replace("|", r"\|")


def _text(thing: Any) -> str:
    text = (inspect.getdoc(thing) or "") + "\n"
    return re.sub(r"((?:^(?:>>>|\.\.\.) .*\n)+)", r"```python\n\1```\n", text, flags=re.MULTILINE).replace(
        "  # doctest: +SKIP", ""
    )


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
