"""Which processors frame rings may be shared on: those that keep the order of stores and of loads."""

from __future__ import annotations

import platform

from f2pnet.errors import MissingResource

ORDERED_MACHINES = ("x86_64", "AMD64")


def check_memory_order() -> None:
    """Raises MissingResource on a processor whose cores may see another core's stores in another order.

    Generations and the header word prove a frame whole only where the stores before them are seen before them. NumPy
    has no barrier to enforce that elsewhere (docs/adr/0016-frame-rings-need-x86-64.md).
    """
    if platform.machine() not in ORDERED_MACHINES:
        raise MissingResource(
            f"this machine is {platform.machine()}: cameras need x86-64, whose cores keep the order in which frames "
            "are written. Run cameras on an x86-64 host; inference workers may run here over TCP (transport.kind: tcp)"
        )
