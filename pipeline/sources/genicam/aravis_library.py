"""The part of libaravis that a camera needs, by ctypes: its Python binding belongs to one Python only, the system's.

Aravis (aravis project, LGPL-2.1) speaks GigE Vision and USB3 Vision without a camera maker's driver. It is loaded from
the system, never shipped. Names and signatures: aravis 0.8, arvcamera.h, arvstream.h, arvbuffer.h.
"""

from __future__ import annotations

import ctypes
from ctypes import (
    POINTER,
    byref,
    c_bool,
    c_char_p,
    c_double,
    c_int,
    c_int64,
    c_size_t,
    c_uint,
    c_uint32,
    c_uint64,
    c_void_p,
)
from functools import cache
from typing import Any

from f2pnet.errors import F2pError, MissingResource

LIBRARIES = ("libaravis-0.8.so.0", "libaravis-0.10.so.0")
DEVICE_ERRORS = b"arv-device-error-quark"
SUCCESS = 0  # ArvBufferStatus
PROBLEMS = {
    1: "nothing of it was kept",
    2: "it did not come whole in time",
    3: "packets were lost on the way",
    4: "packets came in a wrong order",
    5: "it is larger than announced",
    7: "the camera broke it off",
    8: "its payload is no plain picture",
}
PIXEL_FORMATS = {  # PFNC codes
    0x01080001: "Mono8",
    0x01100003: "Mono10",
    0x01100005: "Mono12",
    0x01100025: "Mono14",
    0x01100007: "Mono16",
    0x01080008: "BayerGR8",
    0x01080009: "BayerRG8",
    0x0108000A: "BayerGB8",
    0x0108000B: "BayerBG8",
    0x02180014: "RGB8",
    0x02180015: "BGR8",
    0x02200016: "RGBa8",
    0x02200017: "BGRa8",
}


class AravisError(F2pError):
    """What Aravis says went wrong, in its words. `of_device`: the camera did not answer, or somebody else has it."""

    def __init__(self, message: str, *, of_device: bool) -> None:
        super().__init__(message)
        self.of_device = of_device


class _GError(ctypes.Structure):
    _fields_ = (("domain", c_uint32), ("code", c_int), ("message", c_char_p))


_ErrorSlot = POINTER(POINTER(_GError))
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "arv_update_device_list": (None, ()),
    "arv_get_n_devices": (c_uint, ()),
    "arv_get_device_id": (c_char_p, (c_uint,)),
    "arv_get_device_serial_nbr": (c_char_p, (c_uint,)),
    "arv_get_device_address": (c_char_p, (c_uint,)),
    "arv_camera_new": (c_void_p, (c_char_p, _ErrorSlot)),
    "arv_camera_is_feature_available": (c_bool, (c_void_p, c_char_p, _ErrorSlot)),
    "arv_camera_set_boolean": (None, (c_void_p, c_char_p, c_int, _ErrorSlot)),
    "arv_camera_set_integer": (None, (c_void_p, c_char_p, c_int64, _ErrorSlot)),
    "arv_camera_set_float": (None, (c_void_p, c_char_p, c_double, _ErrorSlot)),
    "arv_camera_set_string": (None, (c_void_p, c_char_p, c_char_p, _ErrorSlot)),
    "arv_camera_get_payload": (c_uint, (c_void_p, _ErrorSlot)),
    "arv_camera_create_stream": (c_void_p, (c_void_p, c_void_p, c_void_p, _ErrorSlot)),
    "arv_camera_start_acquisition": (None, (c_void_p, _ErrorSlot)),
    "arv_camera_stop_acquisition": (None, (c_void_p, _ErrorSlot)),
    "arv_stream_push_buffer": (None, (c_void_p, c_void_p)),
    "arv_stream_timeout_pop_buffer": (c_void_p, (c_void_p, c_uint64)),
    "arv_buffer_new_allocate": (c_void_p, (c_size_t,)),
    "arv_buffer_get_status": (c_int, (c_void_p,)),
    "arv_buffer_get_data": (c_void_p, (c_void_p, POINTER(c_size_t))),
    "arv_buffer_get_image_width": (c_int, (c_void_p,)),
    "arv_buffer_get_image_height": (c_int, (c_void_p,)),
    "arv_buffer_get_image_pixel_format": (c_uint32, (c_void_p,)),
    "arv_buffer_get_timestamp": (c_uint64, (c_void_p,)),
    "g_quark_to_string": (c_char_p, (c_uint32,)),
    "g_object_unref": (None, (c_void_p,)),
    "g_error_free": (None, (POINTER(_GError),)),
}


@cache
def library() -> Any:
    """libaravis with its functions declared. Raises MissingResource with the cure where it is not installed."""
    for name in LIBRARIES:
        try:
            found = ctypes.CDLL(name)
        except OSError:
            continue
        for function, (result, arguments) in _SIGNATURES.items():
            getattr(found, function).restype = result
            getattr(found, function).argtypes = arguments
        return found
    raise MissingResource(
        "GenICam cameras without a maker's producer are read through Aravis, and libaravis is not installed: "
        "apt-get install libaravis-0.8-0, or name the producer (*.cti) of the camera's driver"
    )


def call(function: str, *arguments: Any) -> Any:
    """Call a function whose last argument reports errors. Raises AravisError."""
    error = POINTER(_GError)()
    result = getattr(library(), function)(*arguments, byref(error))
    if error:
        words = (error.contents.message or b"").decode(errors="replace")
        domain = library().g_quark_to_string(error.contents.domain)
        library().g_error_free(error)
        raise AravisError(words.rstrip("."), of_device=domain == DEVICE_ERRORS)
    return result


def cameras_found() -> list[tuple[str, str, str]]:
    """Identifier, serial number and address of each camera that answers now."""
    aravis = library()
    aravis.arv_update_device_list()
    facts = (aravis.arv_get_device_id, aravis.arv_get_device_serial_nbr, aravis.arv_get_device_address)
    return [
        (_text(facts[0](index)), _text(facts[1](index)), _text(facts[2](index)))
        for index in range(aravis.arv_get_n_devices())
    ]


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode(errors="replace")
