"""Industrial cameras (GigE Vision, USB3 Vision, frame grabbers) through the GenTL producer that their maker ships.

GenICam: emva.org/standards-technology/genicam. Incomplete buffers, which lost packets leave, become bad frames:
counted, and never inspected.
"""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from genicam.genapi import GenericException as FeatureException
from genicam.gentl import GenericException, TimeoutException
from harvesters.core import Callback, Harvester, ImageAcquirer

from f2pnet.config.sources import GenicamSource
from f2pnet.errors import ConfigError, MissingResource
from pipeline.sources.base import BadFrame, Frame, Source, SourceFault

Pixels = npt.NDArray[np.uint8]
BUFFERS = 8
INTO_BGR = {
    "RGB8": cv2.COLOR_RGB2BGR,
    "RGBa8": cv2.COLOR_RGBA2BGR,
    "BGRa8": cv2.COLOR_BGRA2BGR,
    "BayerRG8": cv2.COLOR_BayerBG2BGR,  # OpenCV names the pattern by its second row
    "BayerBG8": cv2.COLOR_BayerRG2BGR,
    "BayerGR8": cv2.COLOR_BayerGB2BGR,
    "BayerGB8": cv2.COLOR_BayerGR2BGR,
}
AS_THEY_ARE = ("Mono8", "BGR8")
DEEP = {"Mono10": 2, "Mono12": 4, "Mono14": 6, "Mono16": 8}  # bits that 8-bit grey does without


class GenicamReader(Source):
    """One device. Pictures are dated by the device where it tells times, tied to our clock at its first picture."""

    live = True

    def __init__(self, config: GenicamSource, start_index: int) -> None:
        self._config = config
        self._index = start_index
        self._incomplete: deque[int] = deque()  # arrival times, UTC ns
        self._clock_offset_ns: int | None = None
        self._last_s = time.monotonic()
        self._harvester = Harvester()
        self._acquirer: ImageAcquirer | None = None
        if not Path(config.producer).is_file():
            raise MissingResource(f"no GenTL producer {config.producer}: install the camera maker's driver (*.cti)")
        try:
            self._harvester.add_file(str(config.producer))
            self._harvester.update()
            self._acquirer = self._harvester.create(self._chosen())
            self._set_features(self._acquirer.remote_device.node_map)
            self._acquirer.num_buffers = BUFFERS
            self._acquirer.add_callback(ImageAcquirer.Events.INCOMPLETE_BUFFER, _Count(self._incomplete))
            self._acquirer.start()
        except GenericException as error:
            self.close()
            raise SourceFault(self._told(f"can't be opened: {_words(error)}")) from error
        except Exception:
            self.close()
            raise

    def read(self, timeout_s: float) -> Frame | BadFrame | None:
        if self._incomplete:
            index, self._index = self._index, self._index + 1
            at_ns = self._incomplete.popleft()
            return BadFrame(index, "unreadable", "the buffer is incomplete: packets were lost on the way", at_ns)
        assert self._acquirer is not None  # noqa: S101 - open until closed
        try:
            with self._acquirer.fetch(timeout=timeout_s) as buffer:
                arrived_ns = time.time_ns()
                picture = _pixels(buffer.payload.components[0])
                captured_at_ns = self._captured_at_ns(buffer, arrived_ns)
        except TimeoutException:
            if time.monotonic() - self._last_s > self._config.timeout_s and self._config.trigger == "off":
                raise SourceFault(self._told(f"has been silent for {self._config.timeout_s:g} s")) from None
            return None
        except GenericException as error:
            raise SourceFault(self._told(f"is lost: {_words(error)}")) from error
        self._last_s = time.monotonic()
        index, self._index = self._index, self._index + 1
        if isinstance(picture, str):
            return BadFrame(index, "unreadable", picture, captured_at_ns)
        return Frame(picture, captured_at_ns, index)

    def close(self) -> None:
        acquirer, self._acquirer = self._acquirer, None
        try:
            if acquirer is not None:
                acquirer.stop()
                acquirer.destroy()
            self._harvester.reset()
        except GenericException:  # a device that is gone can't be told so
            return

    def _chosen(self) -> dict[str, str]:
        found = [info.property_dict for info in self._harvester.device_info_list]
        for facts in found:
            if self._config.serial in (None, facts.get("serial_number")):
                return {"id_": facts["id_"]}
        there = ", ".join(f"{facts.get('serial_number')} ({facts.get('model')})" for facts in found) or "none"
        raise SourceFault(self._told(f"is not there; the producer sees: {there}"))

    def _set_features(self, nodes: Any) -> None:
        config = self._config
        wanted: dict[str, str | bool | int | float] = dict(config.features)
        if config.exposure_us is not None:
            wanted["ExposureTime"] = config.exposure_us
        if config.trigger != "off":
            wanted |= {"TriggerSelector": "FrameStart", "TriggerSource": config.trigger, "TriggerMode": "On"}
        for name, value in wanted.items():
            if not nodes.has_node(name):
                raise ConfigError(self._told(f"has no feature {name}; its maker's viewer lists what it has"))
            try:
                nodes.get_node(name).value = value
            except (GenericException, FeatureException, TypeError, ValueError) as error:
                raise ConfigError(self._told(f"refuses {name}: {value!r}: {_words(error)}")) from error

    def _captured_at_ns(self, buffer: Any, arrived_ns: int) -> int:
        try:
            device_ns = int(buffer.timestamp_ns)
        except (GenericException, AttributeError):
            return arrived_ns
        if device_ns <= 0:
            return arrived_ns
        if self._clock_offset_ns is None or device_ns + self._clock_offset_ns > arrived_ns:
            self._clock_offset_ns = arrived_ns - device_ns  # no picture is taken after it came
        return device_ns + self._clock_offset_ns

    def _told(self, what: str) -> str:
        return f"camera {self._config.serial or 'first'} of {Path(self._config.producer).name} {what}"


class _Count(Callback):  # type: ignore[misc] # harvesters has no types
    def __init__(self, into: deque[int]) -> None:
        super().__init__()
        self._into = into

    def emit(self, context: Any) -> None:
        self._into.append(time.time_ns())


def _pixels(component: Any) -> Pixels | str:
    """A copy as (H, W) grey or (H, W, 3) BGR, or what is wrong: the buffer goes back to the device."""
    form = str(component.data_format)
    height, width = int(component.height), int(component.width)
    data = component.data
    if form in DEEP:
        return np.asarray(data.reshape(height, width) >> DEEP[form]).astype(np.uint8)
    if form in AS_THEY_ARE:
        shape = (height, width) if form == "Mono8" else (height, width, 3)
        return np.array(data.reshape(shape), np.uint8)
    if form in INTO_BGR:
        channels = data.size // (height * width)
        shape = (height, width) if channels == 1 else (height, width, channels)
        return np.asarray(cv2.cvtColor(data.reshape(shape), INTO_BGR[form]), np.uint8)
    known = ", ".join((*AS_THEY_ARE, *DEEP, *INTO_BGR))
    return f"pixel format {form} is not read; set the feature PixelFormat to one of {known}"


def _words(error: Exception) -> str:
    return str(error).partition("(Message from the source: ")[2].partition(")")[0] or str(error)
