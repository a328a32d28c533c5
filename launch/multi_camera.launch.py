"""Starts one perception node for several cameras, and camera sources from files if some are named.

    ros2 launch rmpsam_ros multi_camera.launch.py cameras:=front,rear \
        image_topics:=/front/image_raw,/rear/image_raw
"""

from launch import Condition, LaunchContext, LaunchDescription, Substitution
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    SetLaunchConfiguration,
)
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node, SetRemap
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PACKAGE = "rmpsam_ros"
MAX_CAMERAS = 16  # the node's own limit

# Arguments that replace the node parameter of the same name in params_file, if they are given.
OVERRIDES = (
    "image_transport",
    "weights",
    "text_embeddings",
    "labels",
    "model",
    "engine",
    "device",
)
# Node parameters that are set by a value if an argument is given.
GIVEN_BY = {**{name: name for name in OVERRIDES}, "use_depth": "depth_topics"}


class Item(Substitution):
    """One item of an argument that is a list with commas, and a suffix."""

    def __init__(self, argument: str, index: int, suffix: str = "") -> None:
        super().__init__()
        self._argument = argument
        self._index = index
        self._suffix = suffix

    def perform(self, context: LaunchContext) -> str:
        """Return the item; empty: the list is shorter, or the item is empty."""
        text = LaunchConfiguration(self._argument).perform(context)
        items = [item.strip() for item in text.split(",")]
        item = items[self._index] if self._index < len(items) else ""
        return item + self._suffix if item else ""


class ImageTopic(Substitution):
    """Where the images of a camera are: what is named for it, or its input's own name."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self._named = Item("image_topics", index)
        self._own = Item("cameras", index, "/image")

    def perform(self, context: LaunchContext) -> str:
        """Return the topic."""
        return self._named.perform(context) or self._own.perform(context)


class FullName(Substitution):
    """The perception node's name with its namespace."""

    def perform(self, context: LaunchContext) -> str:
        """Return the name; it begins with a slash."""
        namespace = LaunchConfiguration("namespace").perform(context).strip("/")
        name = LaunchConfiguration("node_name").perform(context)
        return f"/{namespace}/{name}" if namespace else f"/{name}"


def given(value: Substitution) -> Condition:
    """True if the value is not empty."""
    return Condition(predicate=lambda context: value.perform(context) != "")


def parameter_names() -> list[SetLaunchConfiguration]:
    """Sets, for every parameter of GIVEN_BY, the name under which the node gets its value.

    Parameters cannot be left out conditionally, but the node ignores names that it does not
    declare: one whose argument is not given goes to such a name.
    """
    nowhere = [
        SetLaunchConfiguration(f"{name}_parameter", f"not_given.{name}") for name in GIVEN_BY
    ]
    own_names = [
        SetLaunchConfiguration(
            f"{name}_parameter", name, condition=given(LaunchConfiguration(argument))
        )
        for name, argument in GIVEN_BY.items()
    ]
    return nowhere + own_names


def text(value: Substitution) -> ParameterValue:
    """The value as a string parameter, even if it looks like a number."""
    return ParameterValue(value, value_type=str)


def console() -> Node:
    """The page for a browser, if argument console says so; console.launch.py has more options."""
    return Node(
        package=PACKAGE,
        executable="rmpsam_console",
        name="rmpsam_console",
        parameters=[{"node": ParameterValue(FullName(), value_type=str)}],
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        output="screen",
        condition=IfCondition(LaunchConfiguration("console")),
    )


def input_remappings() -> list[SetRemap]:
    """From the inputs of every camera to the topics that are named for it."""
    return [
        SetRemap(
            src=[Item("cameras", index, f"/{topic}")],
            dst=[Item(argument, index)],
            condition=given(Item(argument, index)),
        )
        for index in range(MAX_CAMERAS)
        for argument, topic in (
            ("image_topics", "image"),
            ("camera_info_topics", "camera_info"),
            ("depth_topics", "depth"),
        )
    ]


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(
            "cameras",
            default_value="front,rear",
            description="Names of the cameras, separated by commas; the results of each are below "
            "<node_name>/<camera>.",
        ),
        DeclareLaunchArgument(
            "image_topics",
            default_value="",
            description="Image topics in the order of the cameras, separated by commas; empty: "
            "<camera>/image.",
        ),
        DeclareLaunchArgument(
            "camera_info_topics",
            default_value="",
            description="Topics of the calibrations, like image_topics; empty: "
            "camera_info beside the images.",
        ),
        DeclareLaunchArgument(
            "depth_topics",
            default_value="",
            description="Topics of the depth images, like image_topics, aligned to them; sets "
            "use_depth. Empty: as in params_file, <camera>/depth.",
        ),
        DeclareLaunchArgument(
            "image_transport",
            default_value="",
            choices=["", "raw", "compressed"],
            description="raw, or compressed for JPEG or PNG on <image topic>/compressed; "
            "empty: as in params_file.",
        ),
        DeclareLaunchArgument(
            "params_file",
            default_value=PathJoinSubstitution(
                [FindPackageShare(PACKAGE), "config", "rmpsam.yaml"]
            ),
            description="YAML file with the parameters of the perception node. The arguments that "
            "say so replace single values.",
        ),
        DeclareLaunchArgument(
            "weights",
            default_value="",
            description="Checkpoint (.safetensors or .pth), demo or random; empty: as "
            "in params_file.",
        ),
        DeclareLaunchArgument(
            "text_embeddings",
            default_value="",
            description="Class table that belongs to the weights; empty: as in params_file.",
        ),
        DeclareLaunchArgument(
            "labels",
            default_value="",
            description="Label set, by name or file; empty: as in params_file.",
        ),
        DeclareLaunchArgument(
            "model",
            default_value="",
            description="Network: rmpsam_r18 or rmpsam_r50; empty: as in params_file.",
        ),
        DeclareLaunchArgument(
            "engine",
            default_value="",
            description="What executes the network; empty: as in params_file.",
        ),
        DeclareLaunchArgument(
            "device",
            default_value="",
            description="Where the network runs: auto, cpu, cuda, cuda:N; empty: as in "
            "params_file.",
        ),
        DeclareLaunchArgument(
            "autostart",
            default_value="true",
            choices=["true", "false"],
            description="Configure and activate the node at once; false: a lifecycle manager "
            "does it.",
        ),
        DeclareLaunchArgument(
            "namespace", default_value="", description="Namespace of the nodes."
        ),
        DeclareLaunchArgument(
            "node_name",
            default_value="rmpsam",
            description="Name of the perception node; its topics and services are below it.",
        ),
        DeclareLaunchArgument(
            "console",
            default_value="false",
            choices=["true", "false"],
            description="Also serve the page for a browser; its address is in the log.",
        ),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="The least severe messages that are logged.",
        ),
        DeclareLaunchArgument(
            "sources",
            default_value="",
            description="Video files, images, folders of images, or devices to publish on the "
            "image topics, in the order of the cameras; empty: camera drivers do that.",
        ),
        DeclareLaunchArgument(
            "source_rate",
            default_value="0.0",
            description="Images per second of a source; 0.0: the rate of the video or device.",
        ),
    ]
    overrides = {
        LaunchConfiguration(f"{name}_parameter"): (
            text(LaunchConfiguration(name)) if name in OVERRIDES else True
        )
        for name in GIVEN_BY
    }
    autostart = ParameterValue(LaunchConfiguration("autostart"), value_type=bool)
    log_level = ["--log-level", LaunchConfiguration("log_level")]
    perception = Node(
        package=PACKAGE,
        executable="rmpsam_node",
        name=LaunchConfiguration("node_name"),
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            LaunchConfiguration("params_file"),
            {
                "autostart": autostart,
                "cameras": text(LaunchConfiguration("cameras")),
                **overrides,
            },
        ],
        ros_arguments=log_level,
        output="screen",
    )
    camera_sources = [
        Node(
            package=PACKAGE,
            executable="camera_source",
            name=Item("cameras", index, "_source"),
            namespace=LaunchConfiguration("namespace"),
            parameters=[
                {
                    "source": text(Item("sources", index)),
                    "rate": ParameterValue(LaunchConfiguration("source_rate"), value_type=float),
                    "loop": True,
                    "frame_id": text(Item("cameras", index)),
                }
            ],
            remappings=[("image", ImageTopic(index))],
            ros_arguments=log_level,
            output="screen",
            condition=given(Item("sources", index)),
        )
        for index in range(MAX_CAMERAS)
    ]
    group = GroupAction([*input_remappings(), perception, *camera_sources])
    return LaunchDescription([*arguments, *parameter_names(), group, console()])
