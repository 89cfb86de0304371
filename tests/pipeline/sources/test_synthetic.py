"""A camera above the synthetic conveyor."""

from __future__ import annotations

import time

import numpy as np

from f2pnet.config.sources import SyntheticSource
from pipeline.sources import SourceEnded, open_source
from pipeline.sources.conveyor import Conveyor
from tests.servers.reading import read_frames, read_until

CONFIG = SyntheticSource(texture="cast", seed=3, size="128x96", fps=None, frames=6)


def test_frames_are_those_of_the_belt_and_then_it_ends() -> None:
    belt = Conveyor(CONFIG)
    with open_source(CONFIG) as source:
        items, _ = read_until(source, SourceEnded)

    assert len(items) == 6
    for index, frame in enumerate(items):
        assert frame.index == index
        assert np.array_equal(frame.image, belt.frame(index).image)  # type: ignore[union-attr]


def test_reading_goes_on_where_it_stopped() -> None:
    with open_source(CONFIG, start_index=4) as source:
        frames = read_frames(source, 2)

    assert [frame.part_id for frame in frames] == ["part-000004", "part-000005"]


def test_late_reader_gets_each_frame_with_the_time_it_was_taken() -> None:
    config = CONFIG.model_copy(update={"fps": 20.0})
    with open_source(config) as source:
        read_frames(source, 1)
        time.sleep(0.3)
        frames = read_frames(source, 4)

    steps_ms = np.diff([frame.captured_at_ns for frame in frames]) / 1e6
    assert np.abs(steps_ms - 50).max() < 20
