"""Printing for people: text from outside is never taken for markup, and no number is cut on a narrow terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import typer
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from f2pnet.text import printable, printable_block

LONGEST_WORD = 11  # letters; a longer one, such as a path or a camera's name, is folded where room is short
BOX_CELLS = 3  # one line and two blanks for each column, and one more line for the table


class _PlainConsole(Console):
    def render_str(self, text: str, **options: Any) -> Text:
        """A string for printing or a cell of a table, without what a terminal would obey."""
        return super().render_str(printable_block(text), **options)


def plain_console(*, stderr: bool = False) -> Console:
    """A console that shows strings as they are: no `[markup]`, no `:emoji:`, no colouring of numbers, no escapes."""
    return _PlainConsole(markup=False, emoji=False, highlight=False, stderr=stderr)


def cell(text: object, style: str = "") -> Text:
    """Text from outside for a table or a line, on one line."""
    return Text(printable(text), style=style)


def say(text: object, *, err: bool = False) -> None:
    """Print one line, however long, which may hold text from outside."""
    typer.echo(printable(text), err=err)


def say_json(value: object, *, indent: int | None = None) -> None:
    """Print JSON in ASCII, so that no terminal obeys what it holds."""
    typer.echo(json.dumps(value, indent=indent))


class Fitted:
    """A table that keeps numbers whole at any width: it folds long words, then drops its frame, then its columns.

    At the last step each row becomes a block of lines, one for each column that is not empty.
    """

    def __init__(self, table: Table) -> None:
        self.table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        width = options.max_width
        smallest = [_smallest(texts) for texts in self._texts()]
        count = len(smallest)
        if sum(smallest) + BOX_CELLS * count + 1 <= width and self.table.box is not None:
            yield self._with_widths(width - BOX_CELLS * count - 1, smallest)
        elif sum(smallest) + 2 * count <= width:
            self.table.box, self.table.padding = None, (0, 1)
            yield self._with_widths(width - 2 * count, smallest)
        else:
            yield from self._as_blocks()

    def _texts(self) -> list[list[str]]:
        """What stands in each column, with its heading."""
        return [[str(column.header), *map(str, column.cells)] for column in self.table.columns]

    def _with_widths(self, width: int, smallest: list[int]) -> Table:
        wanted = [max(cell_len(line) for text in texts for line in text.split("\n")) for texts in self._texts()]
        widths = list(map(min, smallest, wanted))
        for _ in range(width - sum(widths)):
            lacking = [want - has for want, has in zip(wanted, widths, strict=True)]
            if max(lacking, default=0) <= 0:
                break
            widths[lacking.index(max(lacking))] += 1
        for column, column_width in zip(self.table.columns, widths, strict=True):
            column.width, column.overflow, column.no_wrap = column_width, "fold", False
        return self.table

    def _as_blocks(self) -> Iterator[RenderableType]:
        if self.table.title is not None:
            yield Text(printable_block(self.table.title), style="italic")
        headings = [str(column.header).replace("\n", " ") for column in self.table.columns]
        for row in zip(*(column.cells for column in self.table.columns), strict=True):
            for heading, content in zip(headings, row, strict=True):
                if text := _as_text(content):
                    yield Text.assemble(f"{heading}: " if heading else "", text)
            yield Text()
        if self.table.caption is not None:
            yield Text(str(self.table.caption), style="dim")


def _smallest(texts: list[str]) -> int:
    """How narrow a column may be: numbers stay whole, long words need not."""
    words = [word for text in texts for word in text.split()]
    numbers = [cell_len(word) for word in words if not any(map(str.isalpha, word))]
    return max([1, *numbers, *(min(cell_len(word), LONGEST_WORD) for word in words)])


def _as_text(content: RenderableType) -> Text:
    return content if isinstance(content, Text) else Text(printable_block(content))
