"""The parameter tables as declared parameters of a node, with every change checked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import rclpy.exceptions
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node

from rmpsam_ros.node.parameters.overrides import did_you_mean
from rmpsam_ros.node.parameters.parameter import Change, Parameter, ParameterError, Value

_START_UP_ERRORS = (
    rclpy.exceptions.InvalidParameterTypeException,
    rclpy.exceptions.InvalidParameterValueException,
)


S = TypeVar("S")


class DeclaredParameters(Generic[S]):
    """Declares a table of parameters on a node and hands out their values as settings.

    Args:
        make_settings: makes the settings from the values by name, for example `Settings`.
        is_configured: tells whether parameters that change in the unconfigured state are fixed.
        check: called with the name and new value of each change that the table accepts; raises
            ParameterError to refuse it.

    Raises:
        ParameterError: a value given at start is not accepted; one line says which and why.
    """

    def __init__(
        self,
        node: Node,
        table: Mapping[str, Sequence[Parameter]],
        make_settings: Callable[..., S],
        is_configured: Callable[[], bool] = lambda: False,
        check: Callable[[str, Value], None] = lambda name, value: None,
    ) -> None:
        self._node = node
        self._parameters = {
            parameter.name: parameter for group in table.values() for parameter in group
        }
        self._is_configured = is_configured
        self._check = check
        self._make_settings = make_settings
        self._values = {
            name: self._declare(parameter) for name, parameter in self._parameters.items()
        }
        self._current = make_settings(**self._values)
        self._lock = threading.Lock()  # held while the settings are replaced
        node.add_on_set_parameters_callback(self._on_change)
        self._tells_what_was_set = hasattr(node, "add_post_set_parameters_callback")
        if self._tells_what_was_set:  # not in ROS 2 Humble
            node.add_post_set_parameters_callback(self._apply)

    @property
    def current(self) -> S:
        """The settings as they are now; a changed parameter gives another object."""
        return self._current

    def unknown_names(self) -> list[str]:
        """Return one line for every parameter given at start that the node does not have."""
        given = getattr(self._node, "_parameter_overrides", {})
        lines = []
        for name in given:
            if self._node.has_parameter(name):
                continue
            hint = did_you_mean(name, self._parameters)
            lines.append(f"parameter '{name}' does not exist and is ignored{hint}")
        return lines

    def _declare(self, parameter: Parameter) -> Any:
        try:
            declared: Any = self._node.declare_parameter(
                parameter.name, parameter.default, _descriptor(parameter)
            )
        except _START_UP_ERRORS as error:
            raise ParameterError(f"parameter {parameter.name}: {error}") from error
        return parameter.check(declared.value)

    def _on_change(self, changes: Sequence[Any]) -> SetParametersResult:
        try:
            for change in changes:
                self._check_change(change.name, change.value)
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if not self._tells_what_was_set:
            self._apply(changes)
        return SetParametersResult(successful=True)

    def _apply(self, changes: Sequence[Any]) -> None:
        values = {
            change.name: self._parameters[change.name].check(change.value)
            for change in changes
            if change.name in self._parameters
        }
        with self._lock:
            self._values |= values
            self._current = self._make_settings(**self._values)

    def _check_change(self, name: str, value: Value) -> None:
        parameter = self._parameters.get(name)
        if parameter is None:
            return
        value = parameter.check(value)
        if parameter.change is Change.UNCONFIGURED and self._is_configured():
            raise ParameterError(
                f"{name} changes only while the node is unconfigured: clean up the node, set it, "
                "configure again"
            )
        self._check(name, value)


def _descriptor(parameter: Parameter) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        description=parameter.description,
        additional_constraints=f"changes {parameter.change.value}",
        read_only=parameter.change is Change.START,
        # Else ROS 2 refuses 1 where 1.0 is meant.
        dynamic_typing=isinstance(parameter.default, float),
    )
    if parameter.choices:
        descriptor.additional_constraints += f"; one of {', '.join(parameter.choices)}"
    if parameter.range is not None:
        low, high = parameter.range
        if isinstance(parameter.default, int):
            bounds = IntegerRange(from_value=int(low), to_value=int(high))
            descriptor.integer_range.append(bounds)
        else:
            limits = FloatingPointRange(from_value=float(low), to_value=float(high))
            descriptor.floating_point_range.append(limits)
    return descriptor
