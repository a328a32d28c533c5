"""Parameter files on the command line: those that do not reach the node."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from rmpsam_ros.node.parameters.parameter import ParameterError

FLAG = "--params-file"


def parameter_files(arguments: Sequence[str]) -> list[Path]:
    """Return the parameter files that ROS 2 arguments name."""
    return [Path(path) for flag, path in itertools.pairwise(arguments) if flag == FLAG and path]


def check_files(arguments: Sequence[str], node: str) -> list[str]:
    """Read all parameter files; return a line for each that says nothing to a node.

    ROS 2 ignores such a file without a word.

    Args:
        node: full name, for example ``/rmpsam``.

    Raises:
        ParameterError: a file does not exist or is no parameter file; one line says why.
    """
    lines = []
    for path in parameter_files(arguments):
        sections = list(_sections(_content(path)))
        if sections and not any(_means(section, node) for section in sections):
            lines.append(
                f"parameter file {path} is not used: it is for {', '.join(sections)}, and this "
                f"node is {node}; write '/**:' in its place"
            )
    return lines


def _content(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise ParameterError(f"parameter file {path} does not exist")
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ParameterError(f"parameter file {path} cannot be read: {reason}") from error
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise ParameterError(
            f"parameter file {path} holds a {type(content).__name__}; expected "
            "'/**: ros__parameters: ...', as config/rmpsam.yaml has it"
        )
    return content


def _sections(content: Mapping[str, Any], above: str = "") -> list[str]:
    """Return the names of nodes that have parameters; namespaces may hold them."""
    found = []
    for name, inside in content.items():
        if not isinstance(inside, Mapping):
            continue
        whole = f"{above}/{str(name).lstrip('/')}"
        if "ros__parameters" in inside:
            found.append(whole)
        else:
            found += _sections(inside, whole)
    return found


def _means(section: str, node: str) -> bool:
    """Tell whether ROS 2 takes a section for a node: `*` is one part of a name, `**` any."""
    if "**" in section:
        return fnmatchcase(node, section.replace("/**", "*"))
    wanted, parts = section.split("/"), node.split("/")
    return len(wanted) == len(parts) and all(map(fnmatchcase, parts, wanted))
