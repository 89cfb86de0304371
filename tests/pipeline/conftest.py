"""Fixtures for tests of the line."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.frames.shared_memory import SHARED_MEMORY
from tests.pipeline.harness import LineUnderTest, write_pictures
from tests.toy_engine import write_toy_bundle


@pytest.fixture(scope="session")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine") / "toy"
    write_toy_bundle(folder, max_batch=16)
    return folder


@pytest.fixture
def line(tmp_path: Path, toy_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LineUnderTest]:
    """A line of one folder camera with 90 pictures; change `config` before `start`."""
    runtime = Path("/tmp") / f"f2p-test-{os.getpid()}"  # noqa: S108 - Unix socket paths must be short
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    write_pictures(tmp_path / "parts", 90)
    under_test = LineUnderTest(
        tmp_path,
        {
            "line": "bar",
            "engine": {"bundle": str(toy_bundle), "max_batch": 4, "threads": 1},
            "cameras": [
                {
                    "id": "cam1",
                    "source": {"kind": "folder", "path": "parts", "fps": 40},
                    "ring_slots": 16,
                    "on_overload": "block",
                }
            ],
            "publish": {"redis": "embedded", "spool": {"dir": "spool", "max_mb": 16}},
            "timeouts": {"lease_ms": 1000, "drain_s": 10},
        },
    )
    yield under_test
    under_test.close()
    for folder in (runtime / "f2p").glob("bar-*"):  # a line that was killed leaves its rings to its next start
        for ring in SHARED_MEMORY.glob(f"{folder.name}.*.ring"):
            ring.unlink()
    shutil.rmtree(runtime, ignore_errors=True)


@pytest.fixture
def free_ports() -> list[int]:
    """Three TCP ports that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [int(s.getsockname()[1]) for s in sockets]
    for s in sockets:
        s.close()
    return ports
