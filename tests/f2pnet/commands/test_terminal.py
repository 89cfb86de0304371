"""Tables keep numbers whole on narrow terminals, and nothing from outside moves the cursor."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from rich.table import Table

from f2pnet.commands.terminal import Fitted, cell, plain_console

NUMBERS = ["77123456", "38561728", "1234567890", "0.123", "12:34:56", "-44988700"]


def shown(table: Table, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, markup=False).print(Fitted(table))
    return out.getvalue()


def wide_table() -> Table:
    table = Table("camera", *(f"column {number}" for number in range(len(NUMBERS))), title="a title", caption="a note")
    table.add_row("left-station-camera-with-a-very-long-name", *NUMBERS)
    return table


@pytest.mark.parametrize("width", [200, 120, 80, 60, 40, 20])
def test_every_number_is_whole_at_every_width(width: int) -> None:
    text = shown(wide_table(), width)

    words = re.split(r"[\s│┃]+", text)
    assert set(NUMBERS) <= set(words)
    assert "…" not in text
    assert all(len(line) <= max(width, 24) for line in text.splitlines())
    assert "a note" in text.replace("\n", " ")


def test_where_rows_become_blocks_an_empty_cell_has_no_line() -> None:
    table = Table("", *(f"set {number}" for number in range(8)))
    table.add_row("image_auroc", *([""] * 7), "0.98765432109876543210")

    assert shown(table, 40).split() == ["image_auroc", "set", "7:", "0.98765432109876543210"]


def test_a_long_name_is_folded_and_stays_whole() -> None:
    table = Table("camera", "captured")
    table.add_row("left-station-camera-with-a-very-long-name", "77123456")

    rows = [re.split("│", line)[1].strip() for line in shown(table, 32).splitlines() if line.startswith("│")]

    assert "".join(rows) == "left-station-camera-with-a-very-long-name"


def test_nothing_from_outside_is_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("name", title="\x1b[2Jtitle")
    table.add_row("[red]x[/red] :smile: \x1b[31m\u009b1m\u202e")
    table.add_row(cell("a\nb"))

    plain_console().print("first\x07", Fitted(table))

    out = capsys.readouterr().out
    assert "[red]x[/red] :smile:" in out
    assert "\\x1b[31m\\x9b1m\\u202e" in out
    assert "first\\x07" in out
    assert "a\\nb" in out
    assert not {"\x1b", "\x07", "\u009b", "\u202e"} & set(out)
