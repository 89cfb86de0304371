"""Writes docs/contract.md from the code: commands, exit codes, keys, file formats (`python docs/make_contract.py`).

A test holds the page against what this writes.
"""

from __future__ import annotations

import ast
import inspect
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from pydantic import BaseModel

from f2pnet.alerts.stream import EntryFields, StreamEntry, encode
from f2pnet.commands.table import command_table, open_command
from f2pnet.config.line import LineConfig
from f2pnet.engine.bundle import Manifest
from f2pnet.errors import ExitCode
from f2pnet.inspection.recipe import Recipe
from f2pnet.inspection.result import Defect, InspectionResult, SourceRef, Timings, Verdict
from f2pnet.redis.keys import LineKeys
from pipeline.frames.ledger import Ledger, NotInspectedReason
from pipeline.status.summary import WorkerRow
from training.data.records import Record
from training.recipe import TrainingRecipe

PAGE = Path(__file__).with_name("contract.md")
HEAD = """# Contract

What other programs, scripts and files may rely on. `python docs/make_contract.py` writes this page from the code.
Within one major version commands, options, exit codes, keys and fields keep their names and meanings; new ones may be
added, so readers skip what they do not know. The Python names are in [Python API](api.md).

Units stand in the names: `_s` seconds, `_ms` milliseconds, `_ns` nanoseconds, `_px` pixels of the source frame, `_mb`
MiB, `_mm` and `_mm2` millimetres and square millimetres, `_hz` and `_fps` per second, `_bytes` bytes. Probabilities and
scores lie in 0..1. Times of day are UTC in ns since the epoch.
"""
UNITS = {
    "_s": "s",
    "_ms": "ms",
    "_ns": "ns",
    "_px": "px",
    "_mb": "MiB",
    "_gb": "GiB",
    "_mm": "mm",
    "_mm2": "mm²",
    "_mm_per_px": "mm per px",
    "_hz": "1/s",
    "_fps": "frames/s",
    "_bytes": "bytes",
    "_hours": "h",
    "_days": "days",
}
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def page() -> str:
    """The whole page."""
    parts = [HEAD, *_commands(), _exit_codes(), *_results(), *_redis()]
    for title, text, model in (
        ("Line configuration", "The file of `f2p run`, YAML. Paths are relative to the file.", LineConfig),
        ("Recipe", "What a station calls a defect ([recipes](recipes.md)), YAML.", Recipe),
        ("Training recipe", "`f2p train --config` ([training](training.md)), YAML.", TrainingRecipe),
        ("Engine bundle", "`manifest.json` of a bundle folder, JSON; every file it names is beside it.", Manifest),
    ):
        parts += [f"## {title}\n\n{text}\n", *_model(title, model)]
    parts += [_data_set(), _summary()]
    return "\n".join(parts)


def _commands() -> Iterator[str]:
    yield "## Commands\n"
    for name, entry in command_table("f2pnet.commands").items():
        if name == "bench":
            continue
        yield from _command(f"f2p {name}", open_command(name, entry))
    for name, entry in command_table("f2pnet.benchmarks").items():
        yield from _command(f"f2p bench {name}", open_command(name, entry))


def _command(words: str, command: Any) -> Iterator[str]:
    inner = getattr(command, "commands", None)
    if inner:
        for name, each in inner.items():
            yield from _command(f"{words} {name}", each)
        return
    text = " ".join((command.help or "").split("\n\n")[0].split())
    kinds = get_type_hints(inspect.unwrap(command.callback))
    rows = [_parameter(each, kinds.get(each.name)) for each in command.params if each.name in kinds]
    yield f"### {words}\n\n{text}\n"
    if rows:
        yield _table(("argument or option", "type", "default", "meaning"), rows)


def _parameter(parameter: Any, annotation: Any) -> tuple[str, str, str, str]:
    is_argument = not parameter.opts[0].startswith("-")
    names = parameter.metavar or parameter.name.upper() if is_argument else ", ".join(parameter.opts)
    kind = "flag" if annotation is bool else _option_type(annotation)
    default = "required" if parameter.required else _shown(parameter.default)
    return f"`{names}`", kind, default, parameter.help or ""


def _option_type(annotation: Any) -> str:
    inner = [each for each in get_args(annotation) if each is not type(None)]
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if get_origin(annotation) is list:
        return f"{_option_type(inner[0])}, may be repeated"
    if inner:
        return _option_type(inner[0])
    return {"Path": "path", "str": "text", "int": "integer", "float": "number"}.get(annotation.__name__, "text")


def _shown(default: Any) -> str:
    if default is None or default in ((), [], False):
        return ""
    return f"`{getattr(default, 'value', default)}`"


def _exit_codes() -> str:
    meanings = _strings_under(ExitCode)
    return "## Exit codes\n\n" + _table(
        ("code", "meaning"), [(str(int(code)), meanings[code.name]) for code in ExitCode]
    )


def _results() -> Iterator[str]:
    yield (
        "## Result\n\nOne inspected frame: JSON in UTF-8, in streams, `results.jsonl`, webhooks, MQTT messages and "
        "`f2p inspect`. A field that does not apply is null.\n"
    )
    for kind in (InspectionResult, Defect, SourceRef, Timings):
        yield f"### {kind.__name__}\n\n{_first_paragraph(kind)}\n\n{_struct(kind)}"
    reasons = ", ".join(f"`{reason.value}`" for reason in NotInspectedReason)
    verdicts = ", ".join(f"`{verdict.value}`" for verdict in Verdict)
    yield (
        f"`verdict` is one of {verdicts}. `reason` of a frame that was not inspected is one of {reasons}, and may go "
        "on after a colon.\n"
    )


def _redis() -> Iterator[str]:
    rows = []
    for name, member in vars(LineKeys).items():
        if name in ("run_ledgers", "parse_run_ledger") or name.startswith("_") or name == "line":
            continue
        keys = LineKeys("LINE")
        value = getattr(keys, name)
        if callable(value):
            value = value(
                *(
                    7 if each == "seq" else each.removesuffix("_id").upper()
                    for each in inspect.signature(value).parameters
                )
            )
        rows.append((f"`{value}`", inspect.getdoc(member.fget if isinstance(member, property) else member) or ""))
    yield "## Redis\n\nA line's keys; `{LINE}` keeps them in one slot of a cluster.\n\n" + _table(
        ("key", "holds"), rows
    )
    names = [
        str(each)
        for each in encode(frame_id="", camera_id="", part_id=None, verdict=Verdict.OK, captured_at_ns=0, data=b"")[::2]
    ]
    meanings = _strings_under(EntryFields) | _strings_under(StreamEntry)
    rows = [(f"`{name}`", meanings.get(name, "")) for name in [*names, "chain"]]
    yield "Fields of an entry of the streams `results` and `alerts`:\n\n" + _table(("field", "meaning"), rows)


def _model(title: str, model: type[BaseModel]) -> Iterator[str]:
    schema = model.model_json_schema()
    yield _schema_table(title, schema)
    for name, definition in schema.get("$defs", {}).items():
        if "properties" in definition:
            text = " ".join((definition.get("description") or "").split("\n\n")[0].split())
            yield f"### {title}: {name}\n\n{text}\n\n{_schema_table(title, definition)}"


def _schema_table(title: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", [])
    rows = []
    for name, field in schema["properties"].items():
        default = "required" if name in required else "" if "default" not in field else f"`{_plain(field['default'])}`"
        rows.append((f"`{name}`", _schema_type(title, field), _unit(name), default, field.get("description", "")))
    return _table(("key", "type", "unit", "default", "meaning"), rows)


def _schema_type(title: str, field: Mapping[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{title.lower().replace(' ', '-')}-{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in field:
            return " or ".join(_schema_type(title, each) for each in field[several])
    if "enum" in field:
        return ", ".join(f"`{_plain(value)}`" for value in field["enum"])
    if "const" in field:
        return f"`{_plain(field['const'])}`"
    kind = str(field.get("type", "any"))
    if kind == "array":
        items = field.get("items") or (field.get("prefixItems") or [{}])[0]
        return f"list of {_schema_type(title, items)}"
    if kind == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"map to {_schema_type(title, field['additionalProperties'])}"
    limits = " ".join(f"{sign} {_plain(field[name])}" for name, sign in LIMITS.items() if name in field)
    return f"{kind} {limits}".strip()


def _plain(value: Any) -> str:
    return msgspec.json.encode(value).decode().strip('"') if not isinstance(value, str) else value


def _unit(name: str) -> str:
    return next(
        (unit for suffix, unit in sorted(UNITS.items(), key=lambda each: -len(each[0])) if name.endswith(suffix)), ""
    )


def _struct(kind: type[msgspec.Struct]) -> str:
    meanings = _strings_under(kind)
    rows = [
        (f"`{field.encode_name}`", _kind(field.type), _unit(field.name), meanings.get(field.name, ""))
        for field in msgspec.structs.fields(kind)
    ]
    return _table(("field", "type", "unit", "meaning"), rows)


def _kind(annotation: Any) -> str:
    arguments = [each for each in get_args(annotation) if each is not type(None)]
    if getattr(annotation, "__name__", "") == "tuple" or str(annotation).startswith("tuple"):
        return f"list of {len(arguments)} {_kind(arguments[0])}"
    if str(annotation).startswith("list"):
        return f"list of {_kind(arguments[0])}"
    if arguments:
        return " or ".join(_kind(each) for each in arguments) + (
            " or null" if type(None) in get_args(annotation) else ""
        )
    names = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
    return names.get(annotation.__name__, annotation.__name__)


def _data_set() -> str:
    meanings = _strings_under(Record)
    keys = {"class_mask": "mask_class"}
    rows = [
        (f"`{keys.get(name, name)}`", meanings.get(name, "")) for name in Record.__annotations__ if name != "dataset"
    ]
    return (
        "## Data set folder\n\n`train.json`, `test.json` and other lists: a JSON list of records, paths relative to "
        "the folder ([data sets](data.md)).\n\n" + _table(("field", "meaning"), rows)
    )


def _summary() -> str:
    counts = _strings_under(Ledger)
    rows = [(f"`{name}`", counts.get(name, "")) for name in Ledger.__annotations__ if not name.startswith("_")]
    worker = _table(
        ("field", "type", "unit", "meaning"),
        [
            (f"`{field.name}`", _kind(field.type), _unit(field.name), _strings_under(WorkerRow).get(field.name, ""))
            for field in msgspec.structs.fields(WorkerRow)
        ],
    )
    return (
        "## Summary file\n\n`f2p run --summary`, `f2p demo --summary` and `f2p status --json`: one JSON object with "
        "`line`, `run_id`, `duration_s`, `throughput_fps` (frames/s), `cameras` (by id), `latency_ms` (by stage: "
        "`p50`, `p95`, `p99`), `alerts` (counters), `workers`, `engine`, `truth` (of a demo, else null).\n\n"
        "Counts of a camera:\n\n" + _table(("field", "meaning"), rows) + "\nA worker:\n\n" + worker
    )


def _strings_under(thing: type) -> dict[str, str]:
    """What members of a class mean, from the strings under them."""
    (definition,) = ast.parse(inspect.getsource(thing)).body
    statements = definition.body if isinstance(definition, ast.ClassDef) else []
    found = {}
    for member, text in itertools.pairwise(statements):
        target = (
            member.target
            if isinstance(member, ast.AnnAssign)
            else member.targets[0]
            if isinstance(member, ast.Assign)
            else None
        )
        if isinstance(target, ast.Name) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[target.id] = " ".join(str(text.value.value).split())
    return found


def _first_paragraph(thing: type) -> str:
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
