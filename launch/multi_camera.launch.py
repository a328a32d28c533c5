"""Starts one perception node for several cameras, and camera sources from files if some are named.

    ros2 launch rmpsam_ros multi_camera.launch.py cameras:=front,rear \
        image_topics:=/front/image_raw,/rear/image_raw
"""

from launch import LaunchContext, LaunchDescription, Substitution
from launch.actions import DeclareLaunchArgument, GroupAction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node, SetRemap
from launch_ros.parameter_descriptions import ParameterValue

from rmpsam_ros.launching import (
    PACKAGE,
    console_node,
    exactly,
    given,
    node_arguments,
    perception_node,
)
from rmpsam_ros.node.topic_names import MAX_CAMERAS


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


def node_parameters(context: LaunchContext) -> dict[str, bool | str]:
    """The names of the cameras; the node uses depth if topics of it are given."""
    cameras = LaunchConfiguration("cameras").perform(context)
    depth = LaunchConfiguration("depth_topics").perform(context)
    return {"cameras": cameras} | ({"use_depth": True} if depth else {})


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
        *node_arguments(),
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
    perception = perception_node(node_parameters)
    camera_sources = [
        Node(
            package=PACKAGE,
            executable="camera_source",
            name=Item("cameras", index, "_source"),
            namespace=LaunchConfiguration("namespace"),
            parameters=[
                {
                    "source": exactly(Item("sources", index)),
                    "rate": ParameterValue(LaunchConfiguration("source_rate"), value_type=float),
                    "loop": True,
                    "frame_id": exactly(Item("cameras", index)),
                }
            ],
            remappings=[("image", ImageTopic(index))],
            ros_arguments=["--log-level", LaunchConfiguration("log_level")],
            output="screen",
            condition=given(Item("sources", index)),
        )
        for index in range(MAX_CAMERAS)
    ]
    group = GroupAction([*input_remappings(), perception, *camera_sources])
    return LaunchDescription([*arguments, group, console_node()])
