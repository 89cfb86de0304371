"""How many descriptors a line needs, so that a camera too many is refused before it breaks the others."""

from __future__ import annotations

import resource

from f2pnet.config import LineConfig
from f2pnet.errors import OutOfResources

BASE = 30  # of a worker that serves no camera yet, with room for files that are open for a moment
FOR_EACH_CAMERA = 4  # of an inference worker: socket, its notification, its connection, and the camera's ring
FOR_EACH_PEER = 1  # of the publish worker
MOST_WANTED = 65_536


def raise_descriptor_limit() -> None:
    """Let this process and its children open as many files as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_WANTED if hard == resource.RLIM_INFINITY else min(hard, MOST_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def descriptors_needed(line: LineConfig) -> int:
    """Of the process of the line that needs most."""
    cameras = len(line.cameras)
    peers = cameras + line.engine.workers + len(line.publish.sinks) + 2  # supervisor and console
    return BASE + max(FOR_EACH_CAMERA * cameras, FOR_EACH_PEER * peers)


def check_descriptors(line: LineConfig) -> None:
    """Raise OutOfResources where a process of the line would need more descriptors than it may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = descriptors_needed(line)
    if soft != resource.RLIM_INFINITY and needed > soft:
        raise OutOfResources(
            f"{len(line.cameras)} cameras need {needed} open files in a process, and {soft} are allowed: raise the "
            "limit (ulimit -n, LimitNOFILE=), or name fewer cameras"
        )
