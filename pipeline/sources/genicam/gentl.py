"""Industrial cameras (GigE Vision, USB3 Vision, frame grabbers) through the GenTL producer that their maker ships.

GenICam: emva.org/standards-technology/genicam. Incomplete buffers, which lost packets leave, become bad frames:
counted, and never inspected.
"""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Any

from genicam.genapi import GenericException as FeatureException
from genicam.gentl import GenericException, TimeoutException
from harvesters.core import Callback, Harvester, ImageAcquirer

from f2pnet.config.sources import GenicamSource
from f2pnet.errors import ConfigError, MissingResource
from pipeline.sources.base import BadFrame, Frame, Opening, Source, SourceFault
from pipeline.sources.genicam.pixels import Pixels, picture_of
from pipeline.sources.stream_clock import StreamClock

BUFFERS = 8


class GentlReader(Source):
    """One device. Pictures are dated by the device where it states times, tied to our clock at its first picture."""

    live = True

    def __init__(self, config: GenicamSource, opening: Opening) -> None:
        self._config = config
        self._index = opening.start_index
        self._incomplete: deque[int] = deque()  # arrival times, UTC ns
        self._clock = StreamClock()
        self._last_s = time.monotonic()
        self._harvester = Harvester()
        self._acquirer: ImageAcquirer | None = None
        self._producer = Path(config.producer or "")
        if not self._producer.is_file():
            raise MissingResource(f"no GenTL producer {config.producer}: install the camera maker's driver (*.cti)")
        try:
            self._harvester.add_file(str(self._producer))
            self._harvester.update()
            self._acquirer = self._harvester.create(self._chosen())
            self._set_features(self._acquirer.remote_device.node_map)
            self._acquirer.num_buffers = BUFFERS
            self._acquirer.add_callback(ImageAcquirer.Events.INCOMPLETE_BUFFER, _Count(self._incomplete))
            self._acquirer.start()
        except GenericException as error:
            self.close()
            raise SourceFault(self._described(f"can't be opened: {_words(error)}")) from error
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
                raise SourceFault(self._described(f"has been silent for {self._config.timeout_s:g} s")) from None
            return None
        except GenericException as error:
            raise SourceFault(self._described(f"is lost: {_words(error)}")) from error
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
        except GenericException:  # a device that is gone can't be stopped
            return

    def _chosen(self) -> dict[str, str]:
        found = [info.property_dict for info in self._harvester.device_info_list]
        for facts in found:
            if self._config.serial in (None, facts.get("serial_number")):
                return {"id_": facts["id_"]}
        there = ", ".join(f"{facts.get('serial_number')} ({facts.get('model')})" for facts in found) or "none"
        raise SourceFault(self._described(f"is not there; the producer sees: {there}"))

    def _set_features(self, nodes: Any) -> None:
        for name, value in self._config.wanted_features(nodes.has_node).items():
            if not nodes.has_node(name):
                raise ConfigError(self._described(f"has no feature {name}; its maker's viewer lists what it has"))
            try:
                nodes.get_node(name).value = value
            except (GenericException, FeatureException, TypeError, ValueError) as error:
                raise ConfigError(self._described(f"refuses {name}: {value!r}: {_words(error)}")) from error

    def _captured_at_ns(self, buffer: Any, arrived_ns: int) -> int:
        try:
            device_ns = int(buffer.timestamp_ns)
        except (GenericException, AttributeError):
            return arrived_ns
        return self._clock.captured_at_ns(device_ns / 1e9, arrived_ns) if device_ns > 0 else arrived_ns

    def _described(self, what: str) -> str:
        return f"camera {self._config.serial or 'first'} of {self._producer.name} {what}"


class _Count(Callback):  # type: ignore[misc] # harvesters has no types
    def __init__(self, into: deque[int]) -> None:
        super().__init__()
        self._into = into

    def emit(self, context: Any) -> None:
        self._into.append(time.time_ns())


def _pixels(component: Any) -> Pixels | str:
    return picture_of(component.data, str(component.data_format), int(component.width), int(component.height))


def _words(error: Exception) -> str:
    return str(error).partition("(Message from the source: ")[2].partition(")")[0] or str(error)
