"""Kernels that TensorRT-RTX compiled on this machine, kept on the disk: without them every start compiles again."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Any, Self

log = logging.getLogger(__name__)


class KernelCache:
    """The cache of one engine. A disk that refuses it costs time, and nothing else."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._cache: Any = None
        self._written = b""

    @classmethod
    def of(cls, trt: Any, engine: Path) -> Self:
        """Of an engine file, under its content and the version that runs it."""
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        digest = hashlib.sha256(engine.read_bytes()).hexdigest()[:32]
        return cls(home / "f2pnet" / f"{trt.__name__}-{trt.__version__}-{digest}.kernels")

    def use_in(self, runtime_config: Any) -> None:
        """Have an `IRuntimeConfig` read and fill the cache."""
        self._cache = runtime_config.create_runtime_cache()
        try:
            self._written = self.file.read_bytes()
        except OSError:
            self._written = b""
        if self._written and not self._cache.deserialize(self._written):
            log.warning("%s is damaged or of another GPU: kernels are compiled again", self.file)
        runtime_config.set_runtime_cache(self._cache)

    def write(self) -> None:
        """Keep what was compiled so far."""
        if self._cache is None:
            return
        held = bytes(self._cache.serialize() or b"")
        if not held or held == self._written:
            return
        scratch = self.file.with_suffix(f".{os.getpid()}")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_bytes(held)
            scratch.replace(self.file)
        except OSError as refusal:
            log.warning("compiled kernels can't be kept in %s: %s", self.file, refusal.strerror)
            return
        self._written = held
