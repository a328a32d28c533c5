"""Parts of the launch files: the arguments of the perception node, and the node itself.

Imported by launch files only: launch and launch_ros come with ROS 2, not from PyPI.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.condition import Condition
from launch.conditions import IfCondition
from launch.launch_context import LaunchContext
from launch.logging import get_logger
from launch.substitution import Substitution
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from rmpsam_ros.node.parameters.overrides import parse_overrides, parse_value
from rmpsam_ros.node.parameters.parameter import Parameter, Value
from rmpsam_ros.node.parameters.table import NODE_PARAMETERS

PACKAGE = "rmpsam_ros"
PARAMETERS = {
    parameter.name: parameter for group in NODE_PARAMETERS.values() for parameter in group
}

# Parameters that are given so often that each has an argument of its name; `params` takes all.
OWN_ARGUMENTS = (
    "weights",
    "text_embeddings",
    "labels",
    "model",
    "engine",
    "device",
    "image_transport",
    "autostart",
)
# Arguments that every launch file of cameras has beside them.
COMMON_ARGUMENTS = ("params_file", "params", "namespace", "node_name", "log_level", "console")


class FullName(Substitution):
    """The perception node's name with its namespace."""

    def perform(self, context: LaunchContext) -> str:
        """Return the name; it begins with a slash."""
        namespace = LaunchConfiguration("namespace").perform(context).strip("/")
        name = LaunchConfiguration("node_name").perform(context)
        return f"/{namespace}/{name}" if namespace else f"/{name}"


def node_arguments() -> list[DeclareLaunchArgument]:
    """Declare OWN_ARGUMENTS and COMMON_ARGUMENTS."""
    return [
        DeclareLaunchArgument(
            "params_file",
            default_value=PathJoinSubstitution(
                [FindPackageShare(PACKAGE), "config", "rmpsam.yaml"]
            ),
            description="YAML file with the parameters of the perception node.",
        ),
        DeclareLaunchArgument(
            "params",
            default_value="",
            description="Parameters of the perception node that replace those of params_file: "
            "params:=\"score_threshold:=0.5 classes:='person, car'\". docs/parameters.md lists "
            "all of them.",
        ),
        *(_argument(PARAMETERS[name]) for name in OWN_ARGUMENTS),
        DeclareLaunchArgument(
            "namespace", default_value="", description="Namespace of the nodes."
        ),
        DeclareLaunchArgument(
            "node_name",
            default_value="rmpsam",
            description="Name of the perception node; its topics and services are below it.",
        ),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="The least severe messages that are logged.",
        ),
        DeclareLaunchArgument(
            "console",
            default_value="false",
            choices=["true", "false"],
            description="Also serve the page for a browser; its address is in the log.",
        ),
    ]


def perception_node(
    parameters: Callable[[LaunchContext], dict[str, Value]], **options: Any
) -> OpaqueFunction:
    """Start the perception node with the parameters that the arguments give.

    Args:
        parameters: returns what the launch file itself sets; arguments of the user replace it.
        options: further arguments of `Node`.
    """

    def start(context: LaunchContext) -> list[Node]:
        own = parameters(context)
        _warn_of_misplaced(context, {*OWN_ARGUMENTS, *own})
        values = own | given_parameters(context)
        node = Node(
            package=PACKAGE,
            executable="rmpsam_node",
            name=LaunchConfiguration("node_name"),
            namespace=LaunchConfiguration("namespace"),
            parameters=[
                LaunchConfiguration("params_file"),
                {name: exactly(value) for name, value in values.items()},
            ],
            ros_arguments=["--log-level", LaunchConfiguration("log_level")],
            output="screen",
            **options,
        )
        return [node]

    return OpaqueFunction(function=start)


def console_node() -> Node:
    """Start the page for a browser, if argument console says so.

    ``console.launch.py`` has more options.
    """
    return Node(
        package=PACKAGE,
        executable="rmpsam_console",
        name="rmpsam_console",
        parameters=[{"node": exactly(FullName())}],
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        output="screen",
        condition=IfCondition(LaunchConfiguration("console")),
    )


def given_parameters(context: LaunchContext) -> dict[str, Value]:
    """Return the parameters that the arguments of the user set.

    Raises:
        ParameterError: a parameter does not exist, or does not accept its value.
    """
    own = {name: LaunchConfiguration(name).perform(context) for name in OWN_ARGUMENTS}
    values = {name: parse_value(PARAMETERS[name], text) for name, text in own.items() if text}
    return values | parse_overrides(LaunchConfiguration("params").perform(context))


def exactly(value: Value | Substitution) -> ParameterValue | Value:
    """Give a parameter a value of its own type: a text stays one if it looks like a number."""
    if isinstance(value, str | Substitution):
        return ParameterValue(value, value_type=str)
    return value


def given(value: Substitution) -> Condition:
    """Return the condition that a value is not empty."""
    return Condition(predicate=lambda context: value.perform(context) != "")


def _argument(parameter: Parameter) -> DeclareLaunchArgument:
    """Declare the argument that sets one parameter, as the table describes it."""
    choices = parameter.choices or (
        ("true", "false") if isinstance(parameter.default, bool) else ()
    )
    return DeclareLaunchArgument(
        parameter.name,
        default_value="",
        choices=["", *choices] if choices else None,
        description=f"{parameter.description} Not given: as in params_file.",
    )


def _warn_of_misplaced(context: LaunchContext, taken: set[str]) -> None:
    """Warn of parameters given as arguments of their own, which launch ignores without a word."""
    named = {argument.partition(":=")[0] for argument in context.argv}
    for name in sorted((named & PARAMETERS.keys()) - taken):
        get_logger(PACKAGE).warning(
            f"argument {name} does not reach the perception node; give the parameter as "
            f'params:="{name}:=..."'
        )
