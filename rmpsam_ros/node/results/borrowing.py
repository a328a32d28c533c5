"""Publishing of large images from the buffer in which they lie.

rclpy copies a message into one of the C library, publishes that, and holds the interpreter's lock
all the while: for the label images of a 1080p frame that is milliseconds in which no other thread
runs. Here the C message is a view of the buffer, and ctypes gives the lock back during the call.

That needs the layout of the C message, which no interface promises. It is known for some releases
of rclpy, and looked at before it is used; everywhere else, and whenever something fails, images
are published as all other messages are.
"""

from __future__ import annotations

import ctypes
from array import array
from functools import cache
from typing import Any

from rclpy.publisher import Publisher
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from rmpsam_ros.node.process import rclpy_version

KNOWN_RELEASES = (7,)  # of rclpy: Jazzy
MIN_BYTES = 100_000  # below, the way through ctypes takes as long as the copy
FIELDS = {
    "header": "std_msgs/Header",
    "height": "uint32",
    "width": "uint32",
    "encoding": "string",
    "is_bigendian": "uint8",
    "step": "uint32",
    "data": "sequence<uint8>",
}
HEADER_FIELDS = {"stamp": "builtin_interfaces/Time", "frame_id": "string"}


class _Text(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_char_p),
        ("size", ctypes.c_size_t),
        ("capacity", ctypes.c_size_t),
    )

    @classmethod
    def of(cls, text: str) -> _Text:
        data = text.encode()
        return cls(data, len(data), len(data) + 1)


class _Bytes(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("capacity", ctypes.c_size_t),
    )


class _Image(ctypes.Structure):
    """sensor_msgs__msg__Image, with the fields of its header in their places."""

    _fields_ = (
        ("sec", ctypes.c_int32),
        ("nanosec", ctypes.c_uint32),
        ("frame_id", _Text),
        ("height", ctypes.c_uint32),
        ("width", ctypes.c_uint32),
        ("encoding", _Text),
        ("is_bigendian", ctypes.c_uint8),
        ("step", ctypes.c_uint32),
        ("data", _Bytes),
        ("unused", ctypes.c_uint64 * 8),  # a longer message would be read as empty here
    )


def publish(publisher: Publisher, message: Any) -> None:
    """Publish a message; a large Image without a copy, and without the interpreter's lock.

    The message must not be changed by another thread meanwhile.
    """
    large = type(message) is Image and len(message.data) >= MIN_BYTES
    large = large and isinstance(message.data, array)
    if not (large and is_possible() and _publish_image(publisher, message)):
        publisher.publish(message)


@cache
def is_possible() -> bool:
    """Tell whether images can be published from their buffers here."""
    if rclpy_version() not in KNOWN_RELEASES or not hasattr(Publisher, "handle"):
        return False
    try:
        return _fields_fit() and _layout_fits() and _rcl() is not None
    except (OSError, AttributeError):  # a library or function that is not there
        return False


def _publish_image(publisher: Publisher, message: Image) -> bool:
    """Publish an image from its buffer; False: it was not published."""
    header, (address, size) = message.header, message.data.buffer_info()
    image = _Image(
        header.stamp.sec,
        header.stamp.nanosec,
        _Text.of(header.frame_id),
        message.height,
        message.width,
        _Text.of(message.encoding),
        message.is_bigendian,
        message.step,
        _Bytes(address, size, size),
    )
    rcl = _rcl()
    with publisher.handle:  # lives until the call has returned
        if rcl.rcl_publish(publisher.handle.pointer, ctypes.byref(image), None) == 0:
            return True
    rcl.rcutils_reset_error()
    return False


def _fields_fit() -> bool:
    return (
        Image.get_fields_and_field_types() == FIELDS
        and Header.get_fields_and_field_types() == HEADER_FIELDS
    )


def _layout_fits() -> bool:
    """Look at an image that the library of the messages has made: texts "" and no data."""
    library = ctypes.CDLL("libsensor_msgs__rosidl_generator_c.so")
    library.sensor_msgs__msg__Image__create.restype = ctypes.c_void_p
    library.sensor_msgs__msg__Image__destroy.argtypes = [ctypes.c_void_p]
    address = library.sensor_msgs__msg__Image__create()
    if not address:
        return False
    try:
        # Without what lies behind it, which may not be memory of this process.
        size = _Image.data.offset + ctypes.sizeof(_Bytes)
        image = _Image.from_buffer_copy(
            ctypes.string_at(address, size).ljust(ctypes.sizeof(_Image), b"\0")
        )
        return all(
            (text.data, text.size, text.capacity) == (b"", 0, 1)
            for text in (image.frame_id, image.encoding)
        ) and not (image.data.data or image.data.size or image.data.capacity)
    finally:
        library.sensor_msgs__msg__Image__destroy(address)


@cache
def _rcl() -> Any:
    """Return the client library; loaded by rclpy already."""
    library: Any = ctypes.CDLL("librcl.so")
    library.rcl_publish.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    library.rcl_publish.restype = ctypes.c_int32
    library.rcutils_reset_error = ctypes.CDLL("librcutils.so").rcutils_reset_error
    library.rcutils_reset_error.restype = None
    return library
