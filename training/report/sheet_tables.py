"""Score sheets as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

Sheet = Mapping[str, Any]
PROTOCOL_WORDS = {
    "auto": "no prompts",
    "oracle-box": "boxes of the true defects given",
    "oracle-point": "a point in each true defect given",
}
SHOWN = (
    "images", "objects", "iou", "precision", "recall", "object_recall", "false_alarms_per_image", "frame_recall",
    "false_reject_rate",
)  # fmt: skip


def sheet_tables(sheets: Sequence[Sheet]) -> Iterator[Table]:
    """For each model and protocol its figures on all lists; then each sheet by class and by size of the defect."""
    subjects = dict.fromkeys((sheet["model"], sheet["protocol"]) for sheet in sheets)
    for subject in subjects:
        of_subject = [sheet for sheet in sheets if (sheet["model"], sheet["protocol"]) == subject]
        yield figures_table(of_subject)
        for sheet in of_subject:
            yield _rows_table(f"{sheet['dataset']}, by class", "class", list(sheet["by_class"].items()))
            sizes = [(size_name(row), row) for row in sheet["by_size"]]
            yield _rows_table(f"{sheet['dataset']}, by area of the defect", "px", sizes)


def figures_table(sheets: Sequence[Sheet]) -> Table:
    """Sheets of one model and protocol: a column each, a row for each figure; empty where a list can't have it."""
    names = dict.fromkeys(name for sheet in sheets for name in sheet["values"])
    notes = "\n".join(f"{sheet['dataset']}: {sheet['note']}" for sheet in sheets if "note" in sheet)
    model, protocol = sheets[0].get("model", ""), sheets[0]["protocol"]
    title = f"{model}\nprotocol {protocol}: {PROTOCOL_WORDS[protocol]}".strip()
    table = Table("", *(sheet["dataset"] for sheet in sheets), title=title, caption=notes or None)
    table.add_row("images", *(str(sheet["images"]) for sheet in sheets))
    for name in names:
        table.add_row(name, *(figure_text(sheet, name) for sheet in sheets))
    return table


def figure_text(sheet: Sheet, name: str) -> str:
    """`0.323 (0.034-0.559)`, without the interval where there is none, empty without the figure."""
    if name not in sheet["values"]:
        return ""
    edges = sheet.get("intervals", {}).get(name)
    return f"{sheet['values'][name]:.3f}" + (f" ({edges[0]:.2f}-{edges[1]:.2f})" if edges else "")


def size_name(row: Mapping[str, Any]) -> str:
    """`100-399`, `6400 and more`."""
    return f"{row['from_px']} and more" if row["below_px"] is None else f"{row['from_px']}-{row['below_px'] - 1}"


def _rows_table(title: str, key: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> Table:
    """One row for each class or size, with as many columns as a narrow terminal holds."""
    names = [name for name in SHOWN if any(name in row for _, row in rows)]
    table = Table(key, *(name.replace("_", " ") for name in names), title=title)
    for label, row in rows:
        table.add_row(label.replace("+", "+ "), *(_cell(row.get(name)) for name in names))
    return table


def _cell(value: float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"
