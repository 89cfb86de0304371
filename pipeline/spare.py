"""A worker process that has started already and waits for its name.

Most of the time until a killed worker is back goes into starting Python and importing. One spare process has that
behind it: when a worker dies, it becomes that worker, and the next spare is started once things are calm.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.tethered import tethered


class Spare:
    """One waiting process. It ends with this one."""

    def __init__(self) -> None:
        # A group of its own, as workers have: Ctrl-C on the terminal reaches the supervisor only.
        self._process = subprocess.Popen(  # noqa: S603 - our own command line
            tethered([sys.executable, "-m", "pipeline.spare_process"]), stdin=subprocess.PIPE, process_group=0
        )

    @property
    def waits(self) -> bool:
        return self._process.poll() is None

    def become(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path | None
    ) -> subprocess.Popen[bytes] | None:
        """Have it run `f2p` with these arguments, writing to `log` (None: stderr); None when it died meanwhile."""
        order = {"arguments": list(arguments), "environment": dict(environment), "log": str(log) if log else None}
        stdin = self._process.stdin
        try:
            if stdin is not None:
                stdin.write(json.dumps(order).encode() + b"\n")
                stdin.close()
        except OSError:
            self.close()
            return None
        return self._process if self.waits else None

    def close(self) -> None:
        """End it where it waits."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.kill()
        self._process.wait(timeout=10)
