"""Message classes for recordings, made from message definitions without ROS.

They behave as the classes that ROS 2 generates: called with any of their fields by name, with a
default for every other one. The definitions of this package are its own ``msg/*.msg`` files, those
of ROS 2 come with the library rosbags.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.base import normalize_fieldname
from rosbags.typesys.store import Typestore

from rmpsam_ros.recordings.errors import RecordingError

PACKAGE = "rmpsam_ros"
_NAMED = ("builtin_interfaces", "geometry_msgs", "sensor_msgs", "std_msgs", PACKAGE)


class RecordedTypes:
    """Message classes by their names without package, and their serialisation.

    Attributes:
        store: definitions of all types; more may be registered.
    """

    def __init__(self) -> None:
        self.store = get_typestore(Stores.ROS2_JAZZY)
        self.store.register(own_definitions())
        self._classes: dict[str, type[Any]] = {}
        for name in self.store.fielddefs:
            package, _, base = name.split("/")
            if package in _NAMED:
                setattr(self, base, self._class(name))

    def __getattr__(self, name: str) -> Any:
        """Say which type is missing; all that exist are attributes of the instance."""
        raise AttributeError(f"there is no message type {name}; expected one of {_NAMED}")

    def array(self, values: NDArray[Any]) -> NDArray[Any]:
        """Copy an array into what array fields store: an array of one axis."""
        return np.array(values).reshape(-1)

    def serialize(self, message: Any) -> memoryview:
        """Return a message as CDR."""
        return self.store.serialize_cdr(message, message.__msgtype__)

    def deserialize(self, data: bytes | memoryview, type_name: str) -> Any:
        """Return the message that CDR holds; arrays are views of `data` where that is possible.

        Raises:
            RecordingError: the bytes are no such message.
        """
        try:
            return self.store.deserialize_cdr(data, type_name)
        except Exception as error:  # of several kinds, by what the bytes happen to be
            raise RecordingError(f"{len(data)} bytes are no {type_name}: {error}") from error

    def _class(self, name: str) -> type[Any]:
        """Return a class for a type, with defaults."""
        known = self._classes.get(name)
        if known is not None:
            return known
        makers = {
            normalize_fieldname(field): self._default(kind)
            for field, kind in self.store.fielddefs[name][1]
        }

        def fill(self: Any, **fields: Any) -> None:
            for field, make in makers.items():
                setattr(self, field, fields.pop(field) if field in fields else make())
            if fields:
                raise TypeError(f"{name} has no field {', '.join(fields)}")

        made = type(name.rpartition("/")[2], (self.store.types[name],), {"__init__": fill})
        self._classes[name] = made
        return made

    def _default(self, kind: Any) -> Callable[[], Any]:
        """Return what makes the default of a field."""
        node, content = kind
        if node == Nodetype.NAME:
            return self._class(content)
        if node == Nodetype.BASE:
            return _BASE_DEFAULTS.get(content[0], int)
        (part, detail), length = content
        length = length if node == Nodetype.ARRAY else 0
        if part == Nodetype.NAME:
            make = self._class(detail)
            return lambda: [make() for _ in range(length)]
        if detail[0] == "string":
            return lambda: [""] * length
        dtype = {"char": "uint8", "byte": "uint8"}.get(detail[0], detail[0])
        return partial(np.zeros, length, np.dtype(dtype))


_BASE_DEFAULTS: dict[str, Callable[[], Any]] = {
    "string": str,
    "bool": bool,
    "float32": float,
    "float64": float,
}


@cache
def own_definitions() -> dict[str, Any]:
    """Return the definitions of this package's messages, as rosbags has them."""
    found: dict[str, Any] = {}
    for file in _definition_files():
        name = f"{PACKAGE}/msg/{Path(file.name).stem}"
        found.update(get_types_from_msg(file.read_text("utf-8"), name))
    return found


def _definition_files() -> list[Path]:
    """Return the .msg files: of the installed package, or of the source tree around it."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "message_definitions", package.parent / "msg"):
        if files := sorted(folder.glob("*.msg")):
            return files
    raise RecordingError(
        f"the message definitions of {PACKAGE} are not installed: expected *.msg in "
        f"{package / 'message_definitions'}; install the package again"
    )


def new_store() -> Typestore:
    """Return a store without any types, for the definitions of one recording."""
    return get_typestore(Stores.EMPTY)
