"""The inside of a spare process (`pipeline.spare`): import what workers need, wait for a name, become that worker."""

from __future__ import annotations

import json
import os
import sys

# What a worker would import now.
import pipeline.store.durable
import pipeline.worker_cli
import pipeline.workers.assembly
import pipeline.workers.infer
import pipeline.workers.ingest
import pipeline.workers.publish  # noqa: F401
from f2pnet.cli import main as f2p


def main() -> None:
    """Read one order from standard input and carry it out; end when there will be none."""
    line = sys.stdin.readline()
    if not line:
        return
    order = json.loads(line)
    os.environ.update(order["environment"])
    if order["log"] is not None:
        file = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        for stream in (1, 2):
            os.dup2(file, stream)
        os.close(file)
    sys.argv = ["f2p", *order["arguments"]]
    f2p()


if __name__ == "__main__":
    main()
