"""The node's parameters for recordings: its defaults, its parameter file, and single values."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from rmpsam_ros.node.parameters.configuration import pipeline_config
from rmpsam_ros.node.parameters.parameter import Parameter, ParameterError
from rmpsam_ros.node.parameters.settings import Settings
from rmpsam_ros.node.parameters.table import NODE_PARAMETERS
from rmpsam_ros.pipeline import PipelineConfig
from rmpsam_ros.recordings.errors import RecordingError

NODE_NAMES = ("/**", "/*", "rmpsam", "/rmpsam")  # of the section that is meant for the node
_PARAMETERS = {
    parameter.name: parameter for group in NODE_PARAMETERS.values() for parameter in group
}


def read_settings(
    path: Path | None = None, overrides: Sequence[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """Return the value of every parameter of the node, and a line for each unknown name.

    Args:
        path: a parameter file of ROS 2 (``node: ros__parameters: name: value``).
        overrides: ``name:=value``, as ros2 takes them.

    Raises:
        RecordingError: the file cannot be read, or a value is not accepted.
    """
    values: dict[str, Any] = {name: parameter.default for name, parameter in _PARAMETERS.items()}
    given = {} if path is None else _of_file(path)
    given |= dict(_override(text) for text in overrides)
    unknown = []
    for name, value in given.items():
        parameter = _PARAMETERS.get(name)
        if parameter is None:
            unknown.append(_unknown(name))
            continue
        try:
            values[name] = parameter.check(value)
        except ParameterError as error:
            raise RecordingError(str(error)) from error
    return values, unknown


def config_of(values: Mapping[str, Any], with_prompts: bool) -> PipelineConfig:
    """Return the pipeline's configuration.

    Args:
        with_prompts: without any, no prompt engine is loaded and no image is kept.
    """
    try:
        config = pipeline_config(Settings(**values))
        if with_prompts:
            return config
        prompting = replace(config.prompting, engine="rmpsam", weights="", keep_seconds=0.0)
        return replace(config, prompting=prompting)
    except ValueError as error:
        raise RecordingError(str(error)) from error


def _of_file(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise RecordingError(f"parameter file '{path}' cannot be read: {reason}") from error
    sections = content if isinstance(content, Mapping) else {}
    found = [sections[name] for name in NODE_NAMES if name in sections]
    parameters: dict[str, Any] = {}
    for section in found:
        inner = section.get("ros__parameters") if isinstance(section, Mapping) else None
        if not isinstance(inner, Mapping):
            found = []
            break
        parameters |= {str(name): value for name, value in inner.items()}
    if not found:
        raise RecordingError(
            f"parameter file '{path}' has no section for the node; expected "
            "'/**: ros__parameters: ...', as config/rmpsam.yaml has it"
        )
    return parameters


def _override(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition(":=")
    if not separator or not name:
        raise RecordingError(f"'{text}' is no parameter; expected name:=value")
    parameter: Parameter | None = _PARAMETERS.get(name)
    if parameter is not None and isinstance(parameter.default, str):
        return name, value
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecordingError(f"'{text}' has no value that can be read") from error


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, _PARAMETERS, 1)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    return f"parameter '{name}' does not exist and is ignored{hint}"
