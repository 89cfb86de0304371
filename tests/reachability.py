"""What the product defines and nothing but tests uses, found by name in the syntax trees.

A name counts as used wherever it occurs outside of its own definition, so the lists err on the side of silence: two
functions of one name hide each other.
"""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import f2pnet

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("f2pnet", "models", "training", "export", "pipeline")
USERS = (*PRODUCT, "benchmarks", "docs")
DATA_BASES = {
    "Struct",
    "NamedTuple",
    "BaseModel",
    "Enum",
    "StrEnum",
    "IntEnum",
    "Exception",
    "Protocol",
    "ABC",
    "Generic",
}
_WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass
class Uses:
    """How often each name occurs in the code that is not a test."""

    names: Counter[str] = field(default_factory=Counter)
    """Names, attributes, imports, and single words in strings (tables of "module:function", names of fields)."""
    keywords: Counter[str] = field(default_factory=Counter)
    """Keyword arguments of calls."""
    positional: dict[str, int] = field(default_factory=dict)
    """The most positional arguments that a call of this name passes."""


@functools.cache
def sources(folders: tuple[str, ...]) -> list[tuple[Path, ast.Module]]:
    """Every Python file below the folders, with its syntax tree."""
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in files]


def uses() -> Uses:
    """All uses in the product, its benchmarks and the programs that make its documents."""
    found = Uses()
    for _, tree in sources(USERS):
        for node in ast.walk(tree):
            _count(node, found)
    return found


def _count(node: ast.AST, found: Uses) -> None:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            found.names[name] += 1
        case ast.alias(name=name):
            found.names.update(name.split(".")[-1:])
        case ast.Constant(value=str(text)) if len(text) < 100 and " " not in text:
            found.names.update(_WORD.findall(text))
        case ast.Call(func=function, args=arguments, keywords=keywords):
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            if name == "partial" and arguments and isinstance(arguments[0], ast.Name | ast.Attribute):
                name = getattr(arguments[0], "attr", None) or getattr(arguments[0], "id", "")
            many = 99 if any(isinstance(argument, ast.Starred) for argument in arguments) else len(arguments)
            found.positional[name] = max(many, found.positional.get(name, 0))
            for keyword in keywords:
                found.keywords[keyword.arg or f"**{name}"] += 1
        case ast.Dict(keys=keys):
            found.keywords.update(
                key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)
            )
        case _:
            pass


def unused_definitions(found: Uses) -> Iterator[str]:
    """Functions, classes, methods and module constants whose name occurs nowhere but where they are defined.

    Not methods of public classes, which users call, nor those that a base class from elsewhere calls.
    """
    for path, tree in sources(PRODUCT):
        module = _module(path)
        for node in tree.body:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name) and found.names[target.id] <= 1 and not target.id.startswith("__"):
                        yield f"{module}.{target.id}"
            yield from _unused(node, module, found)


def _unused(node: ast.AST, place: str, found: Uses) -> Iterator[str]:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    own = sum(
        1 for inner in ast.walk(node) if isinstance(inner, ast.Name | ast.Attribute) and _named(inner) == node.name
    )
    registered = any(isinstance(decorator, ast.Call | ast.Attribute) for decorator in node.decorator_list)
    special = node.name.startswith("__")
    if found.names[node.name] - own <= 0 and not registered and not special:
        yield f"{place}.{node.name}"
    if isinstance(node, ast.ClassDef) and node.name not in f2pnet.__all__ and not _hooks_of_others(node):
        for inner in node.body:
            yield from _unused(inner, f"{place}.{node.name}", found)


def _hooks_of_others(node: ast.ClassDef) -> bool:
    """Whether a base of the class comes from a library and may call what the class defines."""
    return any(_named(base) not in _own_classes() | DATA_BASES for base in node.bases)


@functools.cache
def _own_classes() -> set[str]:
    return {inner.name for _, tree in sources(PRODUCT) for inner in ast.walk(tree) if isinstance(inner, ast.ClassDef)}


def _named(node: ast.AST) -> str:
    return getattr(node, "id", None) or getattr(node, "attr", "")


def unused_fields(found: Uses) -> Iterator[str]:
    """Keys of configurations, recipes and records that no code reads."""
    for path, tree in sources(PRODUCT):
        for owner in ast.walk(tree):
            if isinstance(owner, ast.ClassDef):
                for node in owner.body:
                    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                        name = node.target.id
                        if found.names[name] <= 1 and not name.startswith("_"):
                            yield f"{_module(path)}.{owner.name}.{name}"


def unpassed_options(found: Uses) -> Iterator[str]:
    """Parameters with a default that no call passes; those of commands are passed by who types them."""
    for path, tree in sources(PRODUCT):
        if "commands" in path.parts:
            continue
        for owner, function in _functions(tree):
            called = owner if function.name == "__init__" else function.name
            if f"**{called}" in found.keywords or called not in found.positional:
                continue
            given = function.args
            first = 1 if owner and (given.args[:1] and given.args[0].arg in ("self", "cls")) else 0
            positional = given.args[len(given.args) - len(given.defaults) :]
            only = [
                arg for arg, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default is not None
            ]
            for arg in [*positional, *only]:
                index = given.args.index(arg) - first if arg in given.args else 99
                if not found.keywords[arg.arg] and found.positional[called] <= index:
                    yield f"{_module(path)}.{owner + '.' if owner else ''}{function.name}({arg.arg}=)"


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield "", node
        elif isinstance(node, ast.ClassDef):
            yield from ((node.name, inner) for inner in node.body if isinstance(inner, ast.FunctionDef))


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
