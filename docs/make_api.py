"""Writes docs/api.md from the docstrings of the public Python names: `python docs/make_api.py`.

A test holds the page against what this writes.
"""

from __future__ import annotations

import inspect
import re
from enum import Enum
from pathlib import Path
from typing import Any

import f2pnet
from f2pnet.alerts import Alert, Subscription
from f2pnet.alerts_async import AsyncSubscription

PAGE = Path(__file__).with_name("api.md")
HEAD = """# Python API

    pip install 'f2pnet[cpu]'

What `from f2pnet import ...` gives, from the docstrings (`python docs/make_api.py` writes this page). Everything else
is ours to change. Errors derive from `F2pError`; its message names the thing, the value seen, the value
wanted and the cure.
"""
ORDER = ("Inspector", "InspectionResult", "Defect", "Verdict", "subscribe", "subscribe_async", "load_recipe", "Recipe")


def page() -> str:
    """The whole page."""
    things = {name: getattr(f2pnet, name) for name in (*ORDER, *f2pnet.__all__)}
    given = {thing.__name__: thing for thing in (Alert, Subscription, AsyncSubscription)}  # what `subscribe` gives
    return "\n".join([HEAD, *(_section(name, thing) for name, thing in {**things, **given}.items())])


def _section(name: str, thing: Any) -> str:
    if not inspect.isclass(thing):
        return f"## {name}\n\n{_signature(name, thing)}\n{_text(thing)}\n"
    parts = [f"## {name}\n", _text(thing)]
    if issubclass(thing, Enum):
        parts.append("Values: " + ", ".join(f"`{member.value}`" for member in thing) + ".\n")
        return "\n".join(parts)
    fields = inspect.get_annotations(thing)
    public = {field: kind for field, kind in fields.items() if not field.startswith("_")}
    if public and not issubclass(thing, BaseException):
        parts += ["| field | type |", "| --- | --- |"]
        parts += [f"| `{field}` | `{_in_table(kind)}` |" for field, kind in public.items()]
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
