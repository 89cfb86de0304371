"""Industrial cameras (GigE Vision, USB3 Vision) through Aravis, without their maker's driver.

Incomplete pictures, which lost packets leave, become bad frames: counted, and never inspected.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time

import numpy as np

from f2pnet.config.sources import GenicamSource
from f2pnet.errors import ConfigError
from pipeline.sources.base import BadFrame, Frame, Opening, Source, SourceFault
from pipeline.sources.genicam.aravis_library import (
    PIXEL_FORMATS,
    PROBLEMS,
    SUCCESS,
    AravisError,
    call,
    cameras_found,
    library,
)
from pipeline.sources.genicam.pixels import Pixels, is_deep, picture_of
from pipeline.sources.stream_clock import StreamClock

BUFFERS = 16
OLDER_NAMES = {
    "ExposureTime": "ExposureTimeAbs"
}  # of GigE Vision cameras from before the naming convention's version 2


class AravisReader(Source):
    """One camera, by its serial number or address. Its pictures are dated by its own clock, tied to ours."""

    live = True

    def __init__(self, config: GenicamSource, opening: Opening) -> None:
        self._config = config
        self._index = opening.start_index
        self._clock = StreamClock()
        self._last_s = time.monotonic()
        self._aravis = library()
        self._lost = False
        self._camera: int | None = None
        self._stream: int | None = None
        try:
            self._open()
        except AravisError as error:
            self.close()
            raise SourceFault(self._described(f"can't be opened: {error}")) from error
        except Exception:
            self.close()
            raise

    def read(self, timeout_s: float) -> Frame | BadFrame | None:
        buffer = self._aravis.arv_stream_timeout_pop_buffer(self._stream, int(timeout_s * 1e6))
        if not buffer:
            if time.monotonic() - self._last_s > self._config.timeout_s and self._config.trigger == "off":
                self._lost = True
                raise SourceFault(self._described(f"has been silent for {self._config.timeout_s:g} s"))
            return None
        arrived_ns = time.time_ns()
        try:
            return self._item(buffer, arrived_ns)
        finally:
            self._aravis.arv_stream_push_buffer(self._stream, buffer)

    def close(self) -> None:
        """Let go of the camera; of a lost one in the background, since Aravis waits seconds for its farewell."""
        camera, self._camera = self._camera, None
        stream, self._stream = self._stream, None
        if self._lost:
            threading.Thread(target=_release, args=(camera, stream), name="lost camera", daemon=True).start()
        else:
            _release(camera, stream)

    def _open(self) -> None:
        self._camera = call("arv_camera_new", self._chosen().encode())
        self._set_features()
        payload_bytes = call("arv_camera_get_payload", self._camera)
        self._stream = call("arv_camera_create_stream", self._camera, None, None)
        for _ in range(BUFFERS):
            self._aravis.arv_stream_push_buffer(self._stream, self._aravis.arv_buffer_new_allocate(payload_bytes))
        call("arv_camera_start_acquisition", self._camera)

    def _chosen(self) -> str:
        found = cameras_found()
        for identifier, serial, address in found:
            if self._config.serial in (None, identifier, serial, address):
                return identifier
        there = ", ".join(f"{serial} ({identifier}, {address})" for identifier, serial, address in found) or "none"
        raise SourceFault(self._described(f"is not there; Aravis sees: {there}"))

    def _set_features(self) -> None:
        for name, value in self._config.wanted_features(self._has).items():
            try:
                feature = self._name_here(name)
                match value:
                    case bool():
                        call("arv_camera_set_boolean", self._camera, feature, value)
                    case int():
                        call("arv_camera_set_integer", self._camera, feature, value)
                    case float():
                        call("arv_camera_set_float", self._camera, feature, value)
                    case _:
                        call("arv_camera_set_string", self._camera, feature, value.encode())
            except AravisError as error:
                if error.of_device:
                    raise  # a camera that is away for a moment, or whose last user is not yet forgotten
                raise ConfigError(self._described(f"refuses {name}: {value!r}: {error}")) from error

    def _has(self, feature: str) -> bool:
        return bool(call("arv_camera_is_feature_available", self._camera, feature.encode()))

    def _name_here(self, name: str) -> bytes:
        for candidate in (name, OLDER_NAMES.get(name, name)):
            if self._has(candidate):
                return candidate.encode()
        raise ConfigError(self._described(f"has no feature {name}; its maker's viewer lists what it has"))

    def _item(self, buffer: int, arrived_ns: int) -> Frame | BadFrame:
        self._last_s = time.monotonic()
        index, self._index = self._index, self._index + 1
        status = self._aravis.arv_buffer_get_status(buffer)
        if status != SUCCESS:
            why = PROBLEMS.get(status, f"Aravis' status {status}")
            return BadFrame(index, "unreadable", f"the buffer is incomplete: {why}", arrived_ns)
        picture = self._picture(buffer)
        device_ns = self._aravis.arv_buffer_get_timestamp(buffer)
        captured_at_ns = self._clock.captured_at_ns(device_ns / 1e9, arrived_ns) if device_ns else arrived_ns
        if isinstance(picture, str):
            return BadFrame(index, "unreadable", picture, captured_at_ns)
        return Frame(picture, captured_at_ns, index)

    def _picture(self, buffer: int) -> Pixels | str:
        width = self._aravis.arv_buffer_get_image_width(buffer)
        height = self._aravis.arv_buffer_get_image_height(buffer)
        code = self._aravis.arv_buffer_get_image_pixel_format(buffer)
        pixel_format = PIXEL_FORMATS.get(code, f"0x{code:08x}")
        size = ctypes.c_size_t()
        address = self._aravis.arv_buffer_get_data(buffer, ctypes.byref(size))
        pixel_bytes = width * height * (code >> 16 & 0xFF) // 8  # PFNC gives the bits of a pixel
        if pixel_bytes > size.value:
            return f"the buffer has {size.value} bytes, and {width}x{height} {pixel_format} takes {pixel_bytes}"
        raw = np.ctypeslib.as_array((ctypes.c_uint8 * pixel_bytes).from_address(address))
        return picture_of(raw.view("<u2") if is_deep(pixel_format) else raw, pixel_format, width, height)

    def _described(self, what: str) -> str:
        return f"camera {self._config.serial or 'first'} {what}"


def _release(camera: int | None, stream: int | None) -> None:
    if camera is not None and stream is not None:
        with contextlib.suppress(AravisError):  # a camera that is gone can't be stopped
            call("arv_camera_stop_acquisition", camera)
    for thing in (stream, camera):
        if thing is not None:
            library().g_object_unref(thing)
