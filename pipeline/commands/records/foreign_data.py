"""What commands say of foreign data that they passed over: one line on stderr, since stdout is for answers."""

from __future__ import annotations

from collections.abc import Sequence

from f2pnet.commands.terminal import say


def report_foreign(found: Sequence[str]) -> None:
    """`found`: what a `ForeignData` reported."""
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        say(f"{found[0]}{more}", err=True)
