"""What a simulated accelerator is: `simulated:RATE[:BATCH[:DEFECTS]][@FILE]`.

simulated:50                    50 images/s, one at a time
simulated:100:8:0.2             100 images/s, up to 8 at once; a fifth of the images shows a defect
simulated:100:8:engine@/run/d   the answers of the bundle's own ONNX file; processes that name the file share the device
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from f2pnet.errors import ConfigError

NAME = "simulated"
OWN_ENGINE = "engine"
MAX_BATCH = 256
MAX_RATE = 100_000.0


@dataclass(frozen=True)
class SimulatedSpec:
    """A simulated accelerator. A batch of N images keeps it for N / `images_per_s` seconds."""

    images_per_s: float
    max_batch: int = 1
    defect_share: float | None = 0.0
    """Of the images, 0..1; None: the answers are those of the bundle's own ONNX file, which takes CPU time."""
    device_file: Path | None = None
    """Processes that name the same file share one device; None: a device for each process."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ConfigError."""
        settings, _, file = text.partition("@")
        parts = settings.split(":")
        if parts[0] != NAME or not 2 <= len(parts) <= 4:
            raise _refused(text, "wanted simulated:RATE[:BATCH[:DEFECTS]][@FILE]")
        rate = _number(text, parts[1], "RATE (images/s)", 1e-3, MAX_RATE)
        batch = _number(text, parts[2], "BATCH", 1, MAX_BATCH) if len(parts) > 2 else 1.0
        if batch != int(batch):
            raise _refused(text, f"BATCH is {parts[2]}, wanted a whole number")
        share: float | None = 0.0
        if len(parts) > 3:
            share = None if parts[3] == OWN_ENGINE else _number(text, parts[3], "DEFECTS (or 'engine')", 0, 1)
        return cls(rate, int(batch), share, Path(file) if file else None)

    def __str__(self) -> str:
        share = OWN_ENGINE if self.defect_share is None else f"{self.defect_share:g}"
        file = f"@{self.device_file}" if self.device_file else ""
        return f"{NAME}:{self.images_per_s:g}:{self.max_batch}:{share}{file}"

    def service_s(self, count: int) -> float:
        """How long `count` images keep the device, s."""
        return count / self.images_per_s


def _number(spec: str, text: str, what: str, low: float, high: float) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", text) and low <= float(text) <= high:
        return float(text)
    raise _refused(spec, f"{what} is {text or 'empty'}, wanted {low:g} to {high:g}")


def _refused(spec: str, why: str) -> ConfigError:
    return ConfigError(f"backend {spec}: {why}")
