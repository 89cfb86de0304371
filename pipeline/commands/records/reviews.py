"""`f2p reviews`: what reviewers said on the page, as a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from f2pnet.commands.output_places import try_folder
from f2pnet.commands.terminal import say, say_json
from f2pnet.config import LineConfig, load_line
from f2pnet.frame_id import FrameId
from f2pnet.redis.link import RedisLink
from f2pnet.text import printable
from pipeline.console.data_set import Found, write_data_set
from pipeline.console.reviews import Reviews
from pipeline.console.store import Store
from pipeline.store.audit.why import why
from pipeline.store.embedded.line_store import store_of

READ_TIMEOUT_S = 10.0
NAMED = 3


def reviews(
    line_file: Annotated[Path, typer.Argument(metavar="LINE.yaml", help="line configuration")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="where the data set is written")],
    as_json: Annotated[bool, typer.Option("--json", help="print the counts as JSON")] = False,
) -> None:
    """Write reviewed frames as a data set: train.json with masks, coco.json, and to-label.json for missed defects."""
    line = load_line(line_file)
    try_folder(out, "--out")
    with store_of(line) as url:
        link = RedisLink(url, timeout_s=READ_TIMEOUT_S)
        try:
            store = Store(lambda: url, lambda text: say(text, err=True))
            said = Reviews(store, line.line).all()
            written = write_data_set(said, lambda frame_id: _found(link, line, frame_id), out)
        finally:
            link.close()
    if as_json:
        say_json({"out": printable(out), "counts": dict(written.counts), "without_picture": written.without_picture})
        return
    described = ", ".join(f"{count} {word.replace('_', ' ')}" for word, count in sorted(written.counts.items()))
    say(f"{out}: {described or 'no reviews'}")
    if lost := written.without_picture:
        say(
            f"without a picture, so left out: {len(lost)}, such as {', '.join(lost[:NAMED])}; "
            "evidence.keep: all keeps those of OK frames too",
            err=True,
        )


def _found(link: RedisLink, line: LineConfig, frame_id: str) -> Found | None:
    facts = why(link, line, FrameId.parse(frame_id))
    return (facts.result, facts.evidence) if facts.result is not None and facts.evidence is not None else None
