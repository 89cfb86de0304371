"""`f2p bench`."""

from __future__ import annotations

import typer

from f2pnet.commands.table import CommandGroup


class _Benchmarks(CommandGroup):
    provided_by = "f2pnet.benchmarks"


bench = typer.Typer(cls=_Benchmarks, add_completion=False, no_args_is_help=True)


@bench.callback()
def _bench() -> None:
    """Measure rates and latencies, with the machine's facts."""
