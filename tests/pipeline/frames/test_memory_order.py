from __future__ import annotations

import platform
from pathlib import Path

import pytest

from f2pnet.errors import MissingResource
from pipeline.checks.machine_checks import processor
from pipeline.frames.memory_order import check_memory_order
from pipeline.frames.ring_memory import RingMemory


def test_an_ordered_processor_passes() -> None:
    check_memory_order()
    assert processor() == (platform.machine(), None)


def test_a_ring_is_not_mapped_on_a_processor_that_reorders_stores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(MissingResource, match="this machine is aarch64: cameras need x86-64"):
        RingMemory(tmp_path / "ring", -1, writable=False)
    with pytest.raises(MissingResource, match="over TCP"):
        processor()
