"""What others wrote into the places that a line reads: passed over, and reported once."""

from __future__ import annotations

from collections.abc import Callable

from f2pnet.text import printable

REPORTED = 1_000
LONGEST_SHOWN = 200

Report = Callable[[str], None]
"""Takes one line of text."""


class ForeignData:
    """Notes foreign data of one reader. Each piece is notified of once; memory and log stay bounded."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._known: set[tuple[str, str]] = set()
        self.count = 0
        """Pieces that were noted, each once, as far as they are remembered."""

    def note(self, where: str, name: object, why: str) -> None:
        """`where`: the stream, hash or key; `name`: the entry or field in it."""
        piece = (where, clipped(name))
        if piece in self._known or len(self._known) > REPORTED:
            return
        self._known.add(piece)
        self.count += 1
        if len(self._known) > REPORTED:
            self._report(f"more than {REPORTED} pieces of foreign data: further ones are passed over without a word")
        else:
            self._report(f"{where}: {piece[1]} is not the line's and was passed over: {clipped(why)}")


def clipped(text: object) -> str:
    """Fit for a line of a terminal or a log, however long and whatever it holds."""
    plain = text.decode(errors="backslashreplace") if isinstance(text, bytes) else str(text)
    shown = printable(plain[: LONGEST_SHOWN + 1])
    return shown if len(plain) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}..."
