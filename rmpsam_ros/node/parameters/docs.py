"""Documentation and default configuration, written from the parameter tables.

``python -m rmpsam_ros.node.parameters.docs`` in the repository writes both files anew.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

from rmpsam_ros.node.parameters.camera_source_table import CAMERA_SOURCE_PARAMETERS
from rmpsam_ros.node.parameters.parameter import Parameter, Value
from rmpsam_ros.node.parameters.table import NODE_PARAMETERS

_DOCUMENT = """\
# Parameters

This page is written from the tables in `rmpsam_ros/node/parameters`; do not edit it.
`config/rmpsam.yaml` holds the same parameters of the node with their defaults.

Every change is checked, and refused with a reason. A parameter changes **at any time** (the next
image is processed with the new value), **while the node is unconfigured** (before it is configured
for the first time, or after `ros2 lifecycle set /rmpsam cleanup`), or **at start only**.

QoS: history, depth and reliability of every image and result topic can be overridden at start with
`qos_overrides.<topic>.<publisher or subscription>.<policy>`, for example
`qos_overrides./camera/image_raw.subscription.reliability: reliable`.

## rmpsam_node
{node}
## camera_source
{source}"""

_CONFIGURATION = """\
# All parameters of rmpsam_node with their defaults, from rmpsam_ros/node/parameters/table.py.
/**:
  ros__parameters:
{rows}"""


def parameters_markdown() -> str:
    """Return the text of ``docs/parameters.md``."""
    return _DOCUMENT.format(
        node=_sections(NODE_PARAMETERS), source=_sections(CAMERA_SOURCE_PARAMETERS)
    )


def configuration_yaml() -> str:
    """Return the text of ``config/rmpsam.yaml``."""
    groups = []
    for group, parameters in NODE_PARAMETERS.items():
        rows = [f"    # {f' {group} ':-^91}\n"]
        for parameter in parameters:
            accepted = _accepted(parameter)
            sentences = [parameter.description, f"Accepts {accepted}." if accepted else ""]
            text = " ".join([*filter(None, sentences), f"Changes {parameter.change.value}."])
            rows += [f"    # {line}\n" for line in textwrap.wrap(text, 91)]
            rows.append(f"    {parameter.name}: {_yaml(parameter.default)}\n")
        groups.append("".join(rows))
    return _CONFIGURATION.format(rows="\n".join(groups))


def _sections(table: Mapping[str, Iterable[Parameter]]) -> str:
    return "".join(f"\n### {group}\n{parameter_rows(rows)}" for group, rows in table.items())


def parameter_rows(parameters: Iterable[Parameter]) -> str:
    """Return a table of parameters in Markdown."""
    rows = ["\n| name | type | default | accepts | changes | |\n", "|---|---|---|---|---|---|\n"]
    for parameter in parameters:
        default, accepted = _yaml(parameter.default), _accepted(parameter)
        rows.append(
            f"| `{parameter.name}` | {parameter.type_name} | `{default}` | {accepted} "
            f"| {parameter.change.value} | {parameter.description} |\n"
        )
    return "".join(rows)


def _accepted(parameter: Parameter) -> str:
    if parameter.range is not None:
        low, high = parameter.range
        return f"{low:g} to {high:g}"
    return ", ".join(parameter.choices)


def _yaml(value: Value) -> str:
    if isinstance(value, str):
        return value or '""'
    return str(value).lower()


def main() -> None:
    """Write both files into the repository that this file lies in."""
    root = Path(__file__).resolve().parents[3]
    (root / "docs").mkdir(exist_ok=True)
    (root / "docs" / "parameters.md").write_text(parameters_markdown())
    (root / "config" / "rmpsam.yaml").write_text(configuration_yaml())


if __name__ == "__main__":
    main()
