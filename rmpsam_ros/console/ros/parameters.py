"""Parameters of the perception node: what it declares, and changes with its reasons."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    ListParameters,
    SetParameters,
)

from rmpsam_ros.console.ros.calls import Services

TIMEOUT = 5.0  # seconds
# Of the middleware and of the node's surroundings; nothing to be changed from a page.
HIDDEN = ("qos_overrides", "use_sim_time", "start_type_description_service")
_FIELDS = {
    ParameterType.PARAMETER_BOOL: ("bool", "bool_value"),
    ParameterType.PARAMETER_INTEGER: ("integer", "integer_value"),
    ParameterType.PARAMETER_DOUBLE: ("double", "double_value"),
    ParameterType.PARAMETER_STRING: ("string", "string_value"),
}
MAX_TEXT = 1000


class NodeParameters:
    """Reads and changes the parameters of the perception node."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._types: dict[str, int] = {}

    async def read(self) -> list[dict[str, Any]]:
        """Return name, value, type, range and description of every parameter.

        Raises:
            CallError: the node does not answer.
        """
        names = [
            name
            for name in (await self._call(ListParameters, "list_parameters")).result.names
            if not name.startswith(HIDDEN)
        ]
        request = DescribeParameters.Request(names=names)
        descriptors = (
            await self._call(DescribeParameters, "describe_parameters", request)
        ).descriptors
        values = (
            await self._call(GetParameters, "get_parameters", GetParameters.Request(names=names))
        ).values
        rows = [
            _row(descriptor, value)
            for descriptor, value in zip(descriptors, values, strict=False)
            if descriptor.type in _FIELDS
        ]
        self._types = {
            descriptor.name: descriptor.type
            for descriptor in descriptors
            if descriptor.type in _FIELDS
        }
        return rows

    async def change(self, name: str, value: object) -> str:
        """Change one parameter; return the node's reason if it refuses, else nothing.

        Raises:
            CallError: the node does not answer.
            ValueError: there is no such parameter, or the value is of another type.
        """
        if name not in self._types:
            await self.read()
        if name not in self._types:
            raise ValueError(f"the node has no parameter {name[:100]!r}")
        message = ParameterMessage(name=name, value=_value(name, self._types[name], value))
        request = SetParameters.Request(parameters=[message])
        result = (await self._call(SetParameters, "set_parameters", request)).results[0]
        return "" if result.successful else result.reason or "refused without a reason"

    async def _call(self, kind: Any, name: str, request: Any = None) -> Any:
        return await self._services.call(kind, name, request or kind.Request(), TIMEOUT)


def _row(descriptor: Any, value: Any) -> dict[str, Any]:
    type_name, field = _FIELDS[descriptor.type]
    bounds = [*descriptor.integer_range, *descriptor.floating_point_range]
    return {
        "name": descriptor.name,
        "type": type_name,
        "value": getattr(value, field),
        "range": [bounds[0].from_value, bounds[0].to_value] if bounds else None,
        "choices": _choices(descriptor.additional_constraints),
        "description": descriptor.description,
        "constraints": descriptor.additional_constraints,
        "read_only": descriptor.read_only,
    }


def _choices(constraints: str) -> list[str]:
    """Return the texts that `ros_parameters` names as the accepted ones."""
    _, found, names = constraints.partition("one of ")
    return names.split(", ") if found else []


def _value(name: str, kind: int, value: object) -> ParameterValue:
    type_name, field = _FIELDS[kind]
    accepted = {
        "bool": isinstance(value, bool),
        "integer": isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63,
        "double": isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < 1e308,  # nor is it NaN
        "string": isinstance(value, str) and len(value) <= MAX_TEXT,
    }
    if not accepted[type_name]:
        raise ValueError(f"{name} is {str(value)[:100]!r}; expected {type_name}")
    if type_name == "double":
        value = float(value)  # type: ignore[arg-type]
    return ParameterValue(type=kind, **{field: value})
