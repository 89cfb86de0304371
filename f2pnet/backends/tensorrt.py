"""TensorRT, in either of its two packages, on an NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from f2pnet.backends.base import Answer, Backend, BackendFacts, Batch, Device, Outputs, run_sizes
from f2pnet.backends.cuda_driver import DriverFacts, probe
from f2pnet.backends.cuda_edge import Cuda, CudaEdge
from f2pnet.backends.kernel_cache import KernelCache
from f2pnet.backends.tensorrt_flavour import FLAVOURS, Flavour, import_flavour
from f2pnet.backends.two_slots import SLOTS, BufferPlan, TwoSlots
from f2pnet.engine.bundle import Artifact, Bundle, Precision
from f2pnet.errors import BackendError, ConfigError


class TensorRtBackend(Backend):
    """Runs the bundle's TensorRT engine, where it fits this GPU and this TensorRT; else says how to build it again."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: Device = "auto",
        threads: int | None = None,
        precision: Precision | None = None,
    ) -> None:
        if device == "cpu":
            raise ConfigError("TensorRT runs on NVIDIA GPUs alone, asked for was device cpu: use backend onnxruntime")
        artifact = bundle.artifact("tensorrt", precision)
        driver = probe()  # first: without a driver the runtime kills the process
        flavour = flavour_of(artifact)
        trt = import_flavour(flavour)
        check_binding(bundle, artifact, driver, str(trt.__version__))
        manifest = bundle.manifest
        plan = BufferPlan(
            manifest.input.name,
            manifest.network.image_size,
            {spec.name: spec.shape for spec in manifest.outputs},
            artifact.max_batch,
            artifact.static_batch,
        )
        self._cuda = CudaEdge()
        try:
            engine = _Engine(trt, self._cuda, bundle.path(artifact), plan, rebuild_command(bundle, artifact))
            self._slots: TwoSlots | None = TwoSlots(self._cuda, plan, engine.enqueue, engine.can_capture)
        except BaseException:
            self._cuda.close()
            raise
        facts = BackendFacts(
            "tensorrt",
            "cuda:0",
            artifact.max_batch,
            manifest.network.image_size,
            depth=SLOTS,
            precision=artifact.precision,
        )
        self._loaded, self._static_batch = engine, artifact.static_batch
        super().__init__(facts, manifest.outputs)

    def _run(self, batch: Batch) -> Outputs:
        return self._open().run(batch)

    def _start(self, batch: Batch) -> Answer:
        return self._open().start(batch)

    def buffer(self, count: int) -> Batch:
        """Pinned memory."""
        return self._open().buffer(count)

    def warm_up(self, most: int = 1) -> dict[int, float]:
        """As any backend's; the kernels that were compiled are kept for the next start."""
        times_ms = super().warm_up(most)
        self._loaded.keep_kernels()
        return times_ms

    def _sizes(self, most: int) -> list[int]:
        return [1] if self._static_batch else run_sizes(most, self.facts.max_batch)

    def run_all(self, batches: Iterable[Batch]) -> Iterator[Outputs]:
        """As `run`, for one batch after another, with copies under way while the GPU computes."""

        def checked() -> Iterator[Batch]:
            for batch in batches:
                self._check_batch(batch)
                yield batch

        for outputs in self._open().run_all(checked()):
            for spec in self._outputs:
                self._check_output(spec, outputs, len(outputs[spec.name]))
            yield outputs

    def close(self) -> None:
        """Free the GPU's memory."""
        if self._slots is not None:
            self._slots = None  # the engine goes with it, while its GPU is still there
            del self._loaded
            self._cuda.close()

    def _open(self) -> TwoSlots:
        if self._slots is None:
            raise BackendError("this TensorRT engine is closed: open the backend again")
        return self._slots


def flavour_of(artifact: Artifact) -> Flavour:
    """The package that built the engine. Raises ConfigError where the manifest does not say."""
    for flavour in FLAVOURS:
        if flavour in artifact.built_with:
            return flavour
    raise ConfigError(f"{artifact.file} was built with {artifact.built_with or 'nothing named'}, wanted {FLAVOURS}")


def rebuild_command(bundle: Bundle, artifact: Artifact) -> str:
    """What builds the engine again for this machine, from the ONNX file in the bundle."""
    return f"f2p export {bundle.folder} --out {bundle.folder} --format tensorrt --precision {artifact.precision}"


def check_binding(bundle: Bundle, artifact: Artifact, driver: DriverFacts, version: str) -> None:
    """Raises BackendError where the engine was built for another TensorRT, another GPU or another ONNX file."""
    built = artifact.built_with[flavour_of(artifact)]
    built_for = artifact.gpu.compute_capability.split(", ") if artifact.gpu else []
    sources = {held.sha256 for held in bundle.manifest.artifacts if held.format == "onnx"}
    if built != version:
        reason = f"was built with {flavour_of(artifact)} {built}, installed is {version}"
    elif driver.compute_capability not in built_for:
        reason = (
            f"was built for compute capability {', '.join(built_for) or 'unknown'}, "
            f"this {driver.gpu_name} has {driver.compute_capability}"
        )
    elif sources and artifact.built_from not in sources:
        reason = "was built from an ONNX file that the bundle does not hold any more"
    else:
        return
    raise BackendError(f"engine {artifact.file} {reason}: build it again with `{rebuild_command(bundle, artifact)}`")


class _Engine:
    """A loaded engine with one execution context for each size of run, all in one stream and one scratch memory."""

    def __init__(self, trt: Any, cuda: Cuda, path: Path, plan: BufferPlan, cure: str) -> None:
        self._path, self._plan = path, plan
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise BackendError(f"{trt.__name__} {trt.__version__} refuses {path}: build it again with `{cure}`")
        found = {self._engine.get_tensor_name(number) for number in range(self._engine.num_io_tensors)}
        wanted = {plan.input_name, *plan.outputs}
        if found != wanted:
            raise BackendError(f"{path} has tensors {sorted(found)}, the manifest says {sorted(wanted)}: `{cure}`")
        self._contexts: dict[int, Any] = {}
        # Runs follow one another in one stream, so one scratch memory does for all; one for each would be gigabytes.
        self._scratch_bytes = max(1, int(self._engine.device_memory_size_v2))
        self._scratch = cuda.device(self._scratch_bytes)
        self._kernels = KernelCache.of(trt, path)
        self._how = _how_contexts_are_made(trt, self._engine, self._kernels)

    def enqueue(self, size: int, addresses: Mapping[str, int], stream: int) -> None:
        """Put a run of `size` images into the stream."""
        context = self._context(size)
        for name, address in addresses.items():
            context.set_tensor_address(name, address)
        if not context.execute_async_v3(stream):
            raise BackendError(f"TensorRT does not run {self._path} on {size} images")

    def can_capture(self, size: int, stream: int) -> bool:
        """Whether a CUDA graph of such a run would do what the run does. RTX says so; TensorRT's always can."""
        context = self._context(size)
        is_capturable = getattr(context, "is_stream_capturable", None)
        return True if is_capturable is None else bool(is_capturable(stream))

    def keep_kernels(self) -> None:
        """Write compiled kernels to the disk."""
        self._kernels.write()

    def _context(self, size: int) -> Any:
        return self._contexts.get(size) or self._new_context(size)

    def _new_context(self, size: int) -> Any:
        context = self._engine.create_execution_context(self._how)
        if context is None:
            raise BackendError(f"not enough GPU memory to run {self._path} on {size} images: take a smaller batch")
        context.set_device_memory(self._scratch, self._scratch_bytes)
        side = self._plan.image_size
        context.set_input_shape(self._plan.input_name, (size, side, side, 3))
        self._contexts[size] = context
        return context


def _how_contexts_are_made(trt: Any, engine: Any, kernels: KernelCache) -> Any:
    """What execution contexts are created with: their scratch memory is ours.

    RTX compiles kernels for a shape before its first run, not beside it: a graph that is captured between the two would
    hold the slow ones for ever.
    """
    user_managed = trt.ExecutionContextAllocationStrategy.USER_MANAGED
    if not hasattr(engine, "create_runtime_config"):
        return user_managed
    runtime_config = engine.create_runtime_config()
    runtime_config.set_execution_context_allocation_strategy(user_managed)
    if hasattr(trt, "DynamicShapesKernelSpecializationStrategy"):
        eager = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        runtime_config.dynamic_shapes_kernel_specialization_strategy = eager
        kernels.use_in(runtime_config)
    return runtime_config
