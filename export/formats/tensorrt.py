"""TensorRT engines from ONNX files, by `tensorrt` 10 and 11 or by `tensorrt_rtx`.

Networks are strongly typed: half precision and int8 come from the types and Q/DQ pairs in the ONNX file, since
TensorRT 11 has no flags for them. RTX builds on a machine without a GPU; the other needs the GPU that it builds for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx

from export.formats.artifacts import Built, Source
from export.formats.tensorrt_graph import cast_bytes_first
from f2pnet.backends.cuda_driver import DriverFacts, probe
from f2pnet.backends.tensorrt_flavour import Flavour, first_installed, import_flavour
from f2pnet.engine.bundle import GpuFacts, Precision
from f2pnet.errors import BackendError, ConfigError, MissingResource

WORKSPACE_BYTES = 16 << 30
"""The most scratch memory that a layer may ask for. At 8 images of 1024 px vit_b asks for 4.5 GB in fp16, and for
8.7 GB in int8, whose attention is in fp32."""

AHEAD_OF_TIME = ("8.0", "8.6", "8.9", "12.0")
"""What RTX builds for where no GPU says which is wanted: Ampere, Ada and Blackwell."""


@dataclass(frozen=True)
class EngineOptions:
    """What an engine is built for."""

    max_batch: int
    static_batch: bool = False
    workspace_bytes: int = WORKSPACE_BYTES
    compute_capabilities: Sequence[str] = ()  # RTX only; empty: the GPU of this machine
    timing_cache: Path | None = None  # read where it is there, and written after the build

    @property
    def profile(self) -> tuple[int, int, int]:
        """Fewest, best and most images in one run; runs of `max_batch` are what a busy line makes."""
        return (self.max_batch if self.static_batch else 1), self.max_batch, self.max_batch


def build(source: Source, precision: Precision, folder: Path) -> Built:
    """Write `model.<precision>.engine` for this machine's GPU; without one, RTX builds for AHEAD_OF_TIME.

    Raises MissingResource where no TensorRT is installed, ConfigError where the ONNX file of the precision is not
    there, BackendError where TensorRT refuses it.
    """
    path = source.fp32 if precision == "fp32" else source.onnx.get(precision)
    if path is None:
        raise ConfigError(f"TensorRT {precision} starts from an ONNX file in {precision}: add --format onnx")
    flavour = first_installed()
    gpu = _gpu(flavour)
    trt = import_flavour(flavour)
    options = EngineOptions(
        source.max_batch,
        source.static_batch,
        compute_capabilities=() if gpu else AHEAD_OF_TIME,
        timing_cache=timing_cache_path(flavour, trt.__version__, gpu),
    )
    engine = folder / f"model.{precision}.engine"
    engine.write_bytes(engine_from_onnx(trt, path, options))
    built_for = (
        GpuFacts(name=gpu.gpu_name, compute_capability=gpu.compute_capability)
        if gpu
        else GpuFacts(name="any of these", compute_capability=", ".join(AHEAD_OF_TIME))
    )
    return Built(engine.name, built_with={flavour: trt.__version__}, gpu=built_for)


def engine_from_onnx(trt: ModuleType, path: Path, options: EngineOptions) -> bytes:
    """The serialized engine of an ONNX file. `trt` is the module `tensorrt` or `tensorrt_rtx`.

    Raises BackendError that names the nodes which TensorRT does not take, or its reason for not building.
    """
    logger = log_of_builder(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(network_flags(trt))
    _parse(trt, network, logger, path)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default: products with 10 bits of mantissa miss the fp32 gate
    if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):  # RTX: else runs may allocate, and can't be captured
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # so that layers can be inspected by name
    _add_profile(builder, network, config, options)
    _choose_capabilities(trt, config, options.compute_capabilities)
    cache = _load_timing_cache(config, options.timing_cache)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise BackendError(
            f"{trt.__name__} {trt.__version__} can't build {path.name} for {options.max_batch} images with "
            f"{options.workspace_bytes / 1e9:.1f} GB of scratch memory: {logger.last_error}; "
            "where memory is named, a smaller --max-batch helps"
        )
    _save_timing_cache(cache, options.timing_cache)
    return bytes(engine)


def network_flags(trt: Any) -> int:
    """Strong typing is asked for by a flag, until the version where nothing else exists."""
    strongly_typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if strongly_typed is None else 1 << int(strongly_typed)


def log_of_builder(trt: Any) -> Any:
    """A logger that keeps the last error, which TensorRT reports nowhere else."""

    class LastErrorLogger(trt.ILogger):  # type: ignore[misc] # the base class is whichever module's was given
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last_error = "no reason given"

        def log(self, severity: Any, message: str) -> None:
            # Without a driver every build logs error 35 first, which is not why it failed.
            if severity <= trt.ILogger.Severity.ERROR and "catchCudaError" not in message:
                self.last_error = message.splitlines()[0]

    return LastErrorLogger()


def timing_cache_path(flavour: Flavour, version: str, gpu: DriverFacts | None) -> Path | None:
    """Where measured kernel times are kept between builds; None for RTX, which measures nothing when it builds."""
    if gpu is None or flavour == "tensorrt_rtx":
        return None
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "f2pnet" / f"{flavour}-{version}-{gpu.gpu_name.replace(' ', '-')}.timing"


def _gpu(flavour: Flavour) -> DriverFacts | None:
    try:
        return probe()
    except MissingResource:
        if flavour == "tensorrt":
            raise  # its builder needs the GPU
        return None


def _parse(trt: Any, network: Any, logger: Any, path: Path) -> None:
    model = onnx.load(str(path), load_external_data=False)
    parser = trt.OnnxParser(network, logger)
    if parser.parse(cast_bytes_first(model).SerializeToString(), str(path)):
        return
    errors = [parser.get_error(number) for number in range(parser.num_errors)]
    nodes = [f"{error.node_operator()} '{error.node_name()}' ({error.desc().splitlines()[-1]})" for error in errors]
    raise BackendError(f"{trt.__name__} {trt.__version__} does not take these nodes of {path.name}: {'; '.join(nodes)}")


def _add_profile(builder: Any, network: Any, config: Any, options: EngineOptions) -> None:
    """Nothing to add where the graph's batch is fixed."""
    feed = network.get_input(0)
    if feed.shape[0] != -1:
        return
    profile = builder.create_optimization_profile()
    profile.set_shape(feed.name, *((count, *tuple(feed.shape)[1:]) for count in options.profile))
    config.add_optimization_profile(profile)


def _choose_capabilities(trt: Any, config: Any, wanted: Sequence[str]) -> None:
    enumeration = getattr(trt, "ComputeCapability", None)
    if enumeration is None:
        return  # tensorrt builds for the GPU that it sees
    known = enumeration.__members__
    names = [f"SM{capability.replace('.', '')}" for capability in wanted] or ["CURRENT"]
    lacking = [name for name in names if name not in known]
    if lacking:
        raise ConfigError(f"{trt.__name__} {trt.__version__} has no {', '.join(lacking)}; it has {', '.join(known)}")
    config.num_compute_capabilities = len(names)
    for place, name in enumerate(names):
        config.set_compute_capability(known[name], place)


def _load_timing_cache(config: Any, path: Path | None) -> Any:
    if path is None:
        return None
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    config.set_timing_cache(cache, False)
    return cache


def _save_timing_cache(cache: Any, path: Path | None) -> None:
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}")  # two builds at once must not write one file
    scratch.write_bytes(bytes(cache.serialize()))
    scratch.replace(path)
