"""`f2p keys`: a key pair for a host of a line that spans hosts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from f2pnet.commands.output_places import try_folder
from f2pnet.commands.terminal import say, say_json
from f2pnet.errors import ConfigError
from f2pnet.text import printable
from pipeline.wire.curve import write_keys

LONGEST_NAME = 200
NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{LONGEST_NAME - 1}}}")


def keys(
    name: Annotated[str, typer.Argument(metavar="HOST", help="names the pair; the host's name is a good one")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder to write HOST.key and HOST.key_secret into")] = Path(
        "keys"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="print where the keys are, as JSON")] = False,
) -> None:
    """Make a key pair: HOST.key may be shown to anybody, HOST.key_secret stays on the host."""
    if NAME.fullmatch(name) is None:
        raise ConfigError(
            f"HOST is '{printable(name)}': wanted letters, digits, '.', '_' and '-', up to {LONGEST_NAME}"
        )
    try_folder(out, "--out")
    public, secret = write_keys(out, name)
    if as_json:
        say_json({"public": printable(public), "secret": printable(secret)})
        return
    say(f"{public}: public; copy it into the `allowed` folder of the hosts that this one connects to")
    say(f"{secret}: secret, readable by its owner alone; keep it on this host")
