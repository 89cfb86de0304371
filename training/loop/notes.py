"""What a run writes down while it goes: the log, its curves, and TensorBoard's files where that is installed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from training.loop.curves import draw_curves
from training.loop.journal import Journal, read_journal

LOG, CURVES, TENSORBOARD = "log.jsonl", "curves.png", "tensorboard"


class RunNotes:
    """Writes every line to `log.jsonl` and to `tensorboard/`, and draws `curves.png` anew after a validation."""

    def __init__(self, folder: Path, done_steps: int) -> None:
        self._folder = folder
        self._journal = Journal(folder / LOG, done_steps)
        self._board = _board(folder / TENSORBOARD, done_steps)

    def write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """`kind` is "step" or "validation"; `step` counts the steps done."""
        self._journal.write(kind, step, values)
        if kind == "validation":
            self._draw()
        if self._board is not None:
            for name, value in _flat(values).items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        self._draw()
        if self._board is not None:
            self._board.close()

    def _draw(self) -> None:
        draw_curves(read_journal(self._folder / LOG), self._folder / CURVES)


@dataclass
class Pace:
    """Images per second of training, validations left out."""

    images: int = 0
    training_s: float = 0.0
    started: float = field(default_factory=time.monotonic)
    resumed: float = field(default_factory=time.monotonic)

    def count(self, images: int) -> None:
        """`images` more were trained on."""
        now = time.monotonic()
        self.images, self.training_s, self.resumed = self.images + images, self.training_s + now - self.resumed, now

    def pause_ends(self) -> None:
        """Something else than training took place since the last `count`."""
        self.resumed = time.monotonic()

    def values(self) -> dict[str, float]:
        """For the log: `elapsed_s` since this process began to train, `images_per_s`."""
        return {
            "elapsed_s": round(time.monotonic() - self.started, 1),
            "images_per_s": round(self.images / max(self.training_s, 1e-9), 2),
        }


def _board(folder: Path, done_steps: int) -> Any:
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=done_steps + 1)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}/") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
