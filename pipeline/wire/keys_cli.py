"""`f2p keys`: a key pair for a host of a line that spans hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.wire.curve import write_keys


def keys(
    name: Annotated[str, typer.Argument(metavar="HOST", help="names the pair; the host's name is a good one")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder to write HOST.key and HOST.key_secret into")] = Path(
        "keys"
    ),
) -> None:
    """Make a key pair: HOST.key may be shown to anybody, HOST.key_secret stays on the host."""
    public, secret = write_keys(out, name)
    typer.echo(f"{public}: public; copy it into the `allowed` folder of the hosts that this one connects to")
    typer.echo(f"{secret}: secret, readable by its owner alone; keep it on this host")
