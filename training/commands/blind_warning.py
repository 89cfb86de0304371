"""The warning that `f2p train` and `f2p test` end with when their engine is blind."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from f2pnet.engine.blind import BlindOn, explained


def warn_of(blind: Sequence[BlindOn], *, from_scratch: bool = False) -> None:
    """On stderr, the first line in red on a terminal."""
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    first, *more = explained(blind, from_scratch=from_scratch).split("\n")
    console.print(first, style="bold red")
    for line in more:
        console.print(line)
