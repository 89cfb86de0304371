"""`f2p`: the one command."""

from __future__ import annotations

import io
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from f2pnet.commands.table import CommandGroup
from f2pnet.isolation import leave_current_folder

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}

# Pretty tracebacks would show the values of variables, and passwords among them.
app = typer.Typer(cls=CommandGroup, no_args_is_help=True, context_settings=HELP_OPTIONS, pretty_exceptions_enable=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"f2p {version('f2pnet')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Production-line streaming inspection: from camera to alert."""


def main() -> None:
    """Entry point of the `f2p` script."""
    leave_current_folder()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name may hold what the terminal's encoding has not
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="f2p")


if __name__ == "__main__":
    main()
