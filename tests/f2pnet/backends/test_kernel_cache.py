"""Compiled kernels are kept between starts, under what they are for; a disk that refuses them stops nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from f2pnet.backends.kernel_cache import KernelCache

RTX = SimpleNamespace(__name__="tensorrt_rtx", __version__="1.7.1.116")


class Cache:
    """As RTX's: bytes in, bytes out, and damaged bytes refused."""

    def __init__(self) -> None:
        self.held = b""

    def deserialize(self, data: bytes) -> bool:
        if data.startswith(b"kernels"):
            self.held = data
        return data.startswith(b"kernels")

    def serialize(self) -> bytes:
        return self.held


class Config:
    def __init__(self) -> None:
        self.cache = Cache()

    def create_runtime_cache(self) -> Cache:
        return self.cache

    def set_runtime_cache(self, cache: Cache) -> None:
        assert cache is self.cache


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "model.engine"
    path.write_bytes(b"engine")
    return path


def test_what_one_start_compiled_the_next_one_has(engine: Path) -> None:
    first, second = Config(), Config()
    kernels = KernelCache.of(RTX, engine)
    kernels.use_in(first)
    first.cache.held = b"kernels of 8 images"
    kernels.write()
    KernelCache.of(RTX, engine).use_in(second)

    assert second.cache.held == b"kernels of 8 images"


def test_another_engine_or_version_has_its_own(engine: Path) -> None:
    mine = KernelCache.of(RTX, engine).file
    newer = KernelCache.of(SimpleNamespace(__name__="tensorrt_rtx", __version__="1.8"), engine).file
    engine.write_bytes(b"other")

    assert len({mine, newer, KernelCache.of(RTX, engine).file}) == 3


def test_damaged_kernels_are_compiled_again(engine: Path, caplog: pytest.LogCaptureFixture) -> None:
    kernels = KernelCache.of(RTX, engine)
    kernels.file.parent.mkdir(parents=True)
    kernels.file.write_bytes(b"damaged")
    config = Config()
    kernels.use_in(config)
    config.cache.held = b"kernels"
    kernels.write()

    assert "compiled again" in caplog.text
    assert kernels.file.read_bytes() == b"kernels"


def test_a_disk_that_refuses_them_is_a_line_in_the_log(engine: Path, caplog: pytest.LogCaptureFixture) -> None:
    kernels = KernelCache.of(RTX, engine)
    kernels.file.parent.parent.write_text("a file where the folder should be")
    config = Config()
    kernels.use_in(config)
    config.cache.held = b"kernels"
    kernels.write()

    assert "can't be kept" in caplog.text
