"""The few calls of the CUDA driver that a backend needs: memory, streams, events, graphs. No toolkit, no torch.

Function names with `_v2` are those that cuda.h maps the plain names to. Nothing here decides anything; what does is in
`two_slots`, which tests run with a fake of this file.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import byref, c_int, c_size_t, c_uint, c_void_p
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from f2pnet.backends.cuda_driver import check_running, library
from f2pnet.errors import DeviceLost

NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: does not wait for work that others put into the default stream
BLOCKING_SYNC = 1  # CU_EVENT_BLOCKING_SYNC: whoever waits sleeps; else it spins, and takes a core from the cameras
NO_TIMING = 2  # CU_EVENT_DISABLE_TIMING: cheaper
THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may go on allocating


class Cuda(Protocol):
    """What `two_slots` asks of a GPU. Addresses, streams, events and graphs are plain numbers."""

    def enter(self) -> None: ...
    def pinned(self, size_bytes: int) -> NDArray[np.uint8]: ...
    def device(self, size_bytes: int) -> int: ...
    def stream(self) -> int: ...
    def event(self) -> int: ...
    def upload(self, target: int, source: NDArray[np.uint8], size_bytes: int, stream: int) -> None: ...
    def download(self, target: NDArray[np.uint8], source: int, size_bytes: int, stream: int) -> None: ...
    def record(self, event: int, stream: int) -> None: ...
    def wait(self, stream: int, event: int) -> None: ...
    def synchronize(self, event: int) -> None: ...
    def drain(self, stream: int) -> None: ...
    def capture(self, stream: int, work: Callable[[], None]) -> int: ...
    def launch(self, graph: int, stream: int) -> None: ...
    def close(self) -> None: ...


class CudaEdge:
    """The first GPU's primary context, which torch and ONNX Runtime share where they are here too."""

    def __init__(self) -> None:
        self._driver = library()
        self._device = c_int()
        context = c_void_p()
        self._freeing: list[tuple[str, Any]] = []
        self._call("cuInit", c_uint(0))
        self._call("cuDeviceGet", byref(self._device), 0)
        self._call("cuDevicePrimaryCtxRetain", byref(context), self._device)
        self._context = context
        self.enter()

    def enter(self) -> None:
        """Make the context the calling thread's own."""
        self._call("cuCtxSetCurrent", self._context)

    def pinned(self, size_bytes: int) -> NDArray[np.uint8]:
        """Memory of the host that the GPU copies from and to by itself."""
        address = self._new("cuMemHostAlloc", "cuMemFreeHost", c_size_t(size_bytes), c_uint(0))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size_bytes).from_address(address))

    def device(self, size_bytes: int) -> int:
        """Memory of the GPU; the address of its first byte."""
        return self._new("cuMemAlloc_v2", "cuMemFree_v2", c_size_t(size_bytes))

    def stream(self) -> int:
        """A new stream."""
        return self._new("cuStreamCreate", "cuStreamDestroy_v2", c_uint(NON_BLOCKING))

    def event(self) -> int:
        """A new event."""
        return self._new("cuEventCreate", "cuEventDestroy_v2", c_uint(BLOCKING_SYNC | NO_TIMING))

    def upload(self, target: int, source: NDArray[np.uint8], size_bytes: int, stream: int) -> None:
        """Copy the first bytes of pinned memory to the GPU, some time later."""
        self._call(
            "cuMemcpyHtoDAsync_v2",
            c_void_p(target),
            c_void_p(source.ctypes.data),
            c_size_t(size_bytes),
            c_void_p(stream),
        )

    def download(self, target: NDArray[np.uint8], source: int, size_bytes: int, stream: int) -> None:
        """Copy bytes of the GPU to pinned memory, some time later."""
        self._call(
            "cuMemcpyDtoHAsync_v2",
            c_void_p(target.ctypes.data),
            c_void_p(source),
            c_size_t(size_bytes),
            c_void_p(stream),
        )

    def record(self, event: int, stream: int) -> None:
        """The event happens when the stream has done what it was given so far."""
        self._call("cuEventRecord", c_void_p(event), c_void_p(stream))

    def wait(self, stream: int, event: int) -> None:
        """The stream goes on when the event has happened; the caller goes on at once."""
        self._call("cuStreamWaitEvent", c_void_p(stream), c_void_p(event), c_uint(0))

    def synchronize(self, event: int) -> None:
        """Wait for the event here."""
        self._call("cuEventSynchronize", c_void_p(event))

    def drain(self, stream: int) -> None:
        """Wait here until the stream has nothing left to do."""
        self._call("cuStreamSynchronize", c_void_p(stream))

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        """Record what `work` puts into the stream, without running it. Raises BackendError where it can't be."""
        self._call("cuStreamBeginCapture_v2", c_void_p(stream), c_int(THREAD_LOCAL))
        graph, executable = c_void_p(), c_void_p()
        try:
            work()
        except BaseException:  # it says more than the invalid capture that it leaves
            self._driver.cuStreamEndCapture(c_void_p(stream), byref(graph))
            raise
        self._call("cuStreamEndCapture", c_void_p(stream), byref(graph))
        self._call("cuGraphInstantiateWithFlags", byref(executable), graph, ctypes.c_ulonglong(0))
        self._call("cuGraphDestroy", graph)
        self._freeing.append(("cuGraphExecDestroy", executable))
        return int(executable.value or 0)

    def launch(self, graph: int, stream: int) -> None:
        """Run a captured graph."""
        self._call("cuGraphLaunch", c_void_p(graph), c_void_p(stream))

    def close(self) -> None:
        """Free everything that was asked for, the last first. What is lost with the device needs no freeing."""
        try:
            self.enter()
            while self._freeing:
                function, handle = self._freeing.pop()
                self._call(function, handle)
            self._call("cuDevicePrimaryCtxRelease_v2", self._device)
        except DeviceLost:
            self._freeing.clear()

    def _new(self, make: str, free: str, *arguments: Any) -> int:
        handle = c_void_p()
        self._call(make, byref(handle), *arguments)
        self._freeing.append((free, handle))
        return int(handle.value or 0)

    def _call(self, function: str, *arguments: Any) -> None:
        check_running(self._driver, function, *arguments)
