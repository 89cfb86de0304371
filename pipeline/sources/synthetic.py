"""A camera above the synthetic conveyor."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from f2pnet.config.sources import SyntheticSource
from pipeline.sources.base import Frame, Opening, Source, SourceEnded
from pipeline.sources.conveyor import Conveyor
from pipeline.sources.pacing import Pacer


class SyntheticReader(Source):
    """Each frame is a part of its own; frame `index` is `Conveyor(config).frame(index)`, modulo a closed belt."""

    def __init__(self, config: SyntheticSource, opening: Opening) -> None:
        self.live = config.live
        self._config = config
        self._belt = Conveyor(config)
        self._index = opening.start_index
        self._pacer = Pacer(config.fps)
        self._loop = [self._draw(n) for n in range(config.loop_frames or 0)]

    def read(self, timeout_s: float) -> Frame | None:
        if self._config.frames is not None and self._index >= self._config.frames:
            raise SourceEnded(f"the belt of {self._config.frames} frames is through")
        late_s = self._pacer.wait(timeout_s)
        if late_s is None:
            return None
        captured_at_ns = time.time_ns() - round(late_s * 1e9)  # a camera exposes when the part is there
        index, self._index = self._index, self._index + 1
        image = self._loop[index % len(self._loop)] if self._loop else self._draw(index)
        return Frame(image, captured_at_ns, index, part_id=f"part-{index:06d}")

    def _draw(self, index: int) -> npt.NDArray[np.uint8]:
        image = self._belt.frame(index).image
        return np.repeat(image[:, :, np.newaxis], 3, axis=2) if self._config.colour else image

    def close(self) -> None:
        """Nothing to let go of."""
