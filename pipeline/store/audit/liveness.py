"""Whether a line works, as far as its store shows: a heartbeat changes while one looks, whatever the clocks say."""

from __future__ import annotations

import time

from f2pnet.foreign import ForeignData
from f2pnet.redis.keys import LineKeys
from f2pnet.redis.link import RedisLink
from pipeline.store.audit.ledgers import read_hashes

LOOK_S = 3.0  # heartbeats come five times a second; a publish worker that is replaced is back within one
STEP_S = 0.1


def line_works(link: RedisLink, keys: LineKeys) -> bool:
    """Returns as soon as a heartbeat changes, at the latest after `LOOK_S`. Raises StoreAway."""
    foreign = ForeignData(lambda text: None)  # whoever shows heartbeats reports it
    first = read_hashes(link, [keys.workers], foreign)
    until_s = time.monotonic() + (LOOK_S if first[0] else 0.0)
    while time.monotonic() < until_s:
        time.sleep(STEP_S)
        if read_hashes(link, [keys.workers], foreign) != first:
            return True
    return False
