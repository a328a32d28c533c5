"""Parameter values as people write them: ``name:=value``."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping, Sequence

from rmpsam_ros.node.parameters.parameter import Parameter, ParameterError, Value
from rmpsam_ros.node.parameters.table import NODE_PARAMETERS


def parse_overrides(
    text: str, table: Mapping[str, Sequence[Parameter]] = NODE_PARAMETERS
) -> dict[str, Value]:
    """Return the values of a text like ``score_threshold:=0.5 classes:='person, car'``.

    Args:
        text: any number of parameters between spaces; quotes as in a shell.

    Raises:
        ParameterError: a parameter does not exist, is given twice, or does not accept its value.
    """
    known = {parameter.name: parameter for group in table.values() for parameter in group}
    values: dict[str, Value] = {}
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ParameterError(f"{text!r} cannot be read: {error}") from error
    for word in words:
        name, separator, value = word.partition(":=")
        if not separator or not name:
            raise ParameterError(f"{word!r} is no parameter; expected name:=value")
        if name not in known:
            raise ParameterError(f"parameter '{name}' does not exist{did_you_mean(name, known)}")
        if name in values:
            raise ParameterError(f"parameter '{name}' is given twice")
        values[name] = parse_value(known[name], value)
    return values


def parse_value(parameter: Parameter, text: str) -> Value:
    """Return the value of a parameter that a text means.

    Raises:
        ParameterError: it is of another type or not accepted.
    """
    kind = type(parameter.default)
    value: Value = text
    if kind is bool:
        value = {"true": True, "false": False}.get(text.lower(), text)
    elif kind is not str:
        try:
            value = kind(text)
        except ValueError:
            pass  # refused as the text that it is
    return parameter.check(value)


def did_you_mean(name: str, known: Mapping[str, object]) -> str:
    """Return the end of a sentence that names the most similar known name, or nothing."""
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean '{close[0]}'?" if close else ""
