"""The Redis of a line, for commands that read it while the line runs or is stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from f2pnet.config import LineConfig
from f2pnet.errors import MissingResource
from pipeline.store.embedded.server import EmbeddedRedis


@contextlib.contextmanager
def store_of(line: LineConfig) -> Iterator[str]:
    """Address of the line's Redis; an embedded one that does not run is started for as long as it is read."""
    try:
        yield line.running_store()
        return
    except MissingResource:
        if not (line.publish.embedded_redis_dir / "lock").exists():
            raise
    with EmbeddedRedis(line.publish.embedded_redis_dir) as server:
        yield server.url
