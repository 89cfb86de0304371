"""A row of a command table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A subcommand that is imported when it is run: "module:function" (or a Typer app), and one line of help."""

    target: str
    help: str
    extra: str | None = None
    """The extra of this distribution that it may need."""
