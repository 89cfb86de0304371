"""How the line logs: one line for each event, on stderr, since stdout is for answers."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

from f2pnet.text import printable


def log_to_stderr() -> None:
    """Set it up for this process."""
    import structlog  # takes a tenth of a second, which commands that log nothing do not pay

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _printable_values,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        # The stream is looked up anew each time: the live table redirects it.
        logger_factory=lambda *_: structlog.PrintLogger(cast(TextIO, _Forgiving(sys.stderr))),
    )


class _Forgiving:
    """A stream whose full disk or closed pipe costs log lines and no worker."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def _printable_values(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Text from outside may not forge lines, move the cursor or break the encoding; a traceback keeps its lines."""
    for name, value in event.items():
        if name == "exception":
            event[name] = "\n".join(map(printable, str(value).splitlines()))
        elif not isinstance(value, bool | int | float | None):
            event[name] = printable(value)
    return event
