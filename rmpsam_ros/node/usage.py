"""What ``rmpsam_node --help`` and ``camera_source --help`` print."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from rmpsam_ros.node.parameters.parameter import Parameter

WIDTH = 99
_COMMON = """\
  -p name:=value               set a parameter
  --params-file FILE           parameters from a file, as config/rmpsam.yaml
  -r image:=/camera/image_raw  remap the images to the camera's topic
  -r __node:=name              another name for the node; __ns for its namespace
  --log-level debug            say more
"""


def wants_help(arguments: Sequence[str]) -> bool:
    """Tell whether arguments ask for help before those that are meant for ROS 2."""
    own = list(arguments)
    if "--ros-args" in own:
        own = own[: own.index("--ros-args")]
    return bool({"-h", "--help"} & set(own))


def usage(
    program: str, summary: str, table: Mapping[str, Sequence[Parameter]], more: str = ""
) -> str:
    """Return the help text of a program.

    Args:
        more: lines at the end.
    """
    lines = [
        f"usage: {program} [--ros-args ARGUMENTS]",
        "",
        *textwrap.wrap(summary, WIDTH),
        "",
        "ARGUMENTS are those of every ROS 2 node:",
        _COMMON,
    ]
    for group, parameters in table.items():
        lines.append(f"parameters: {group}")
        for parameter in parameters:
            default = repr(parameter.default).replace("'", '"')
            text = f"{parameter.description} Default: {default}."
            lines.append(f"  {parameter.name}")
            lines += textwrap.wrap(text, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
        lines.append("")
    return "\n".join([*lines, more]).rstrip()
