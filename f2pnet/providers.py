"""What packages above this one provide to it, by entry points of this distribution (pyproject.toml names them).

So `f2p` has commands of a line and of training, and `Inspector` opens checkpoints, without this package naming theirs.
"""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoints, distributions
from typing import Any

from f2pnet.errors import MissingResource


@functools.cache
def provided(group: str) -> EntryPoints:
    """The entry points of a group, by name. Raises MissingResource where f2pnet is not installed."""
    for installed in distributions(name="f2pnet"):  # a checkout may hold the metadata of an older build beside it
        if found := installed.entry_points.select(group=group):
            return EntryPoints(sorted(found, key=lambda entry: entry.name))
    raise MissingResource(f"nothing provides '{group}': install f2pnet (in a checkout: pip install -e .)")


def provider(name: str) -> Any:
    """The function that a package above provides by this name. Raises MissingResource, or what its import raises."""
    return provided("f2pnet.providers")[name].load()
