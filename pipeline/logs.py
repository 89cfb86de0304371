"""How the line logs: one line for each event, on stderr, since stdout is for answers."""

from __future__ import annotations

import sys


def log_to_stderr() -> None:
    """Set it up for this process."""
    import structlog  # takes a tenth of a second, which commands that log nothing do not pay

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # looked up anew: the live table redirects it
    )
