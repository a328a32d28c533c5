"""Serves the page of a perception node to a browser; the address is in the log.

ros2 launch rmpsam_ros console.launch.py
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

PACKAGE = "rmpsam_ros"


def generate_launch_description() -> LaunchDescription:
    def value(argument: str, kind: type) -> ParameterValue:
        return ParameterValue(LaunchConfiguration(argument), value_type=kind)

    arguments = [
        DeclareLaunchArgument(
            "node",
            default_value="/rmpsam",
            description="Full name of the perception node.",
        ),
        DeclareLaunchArgument(
            "address",
            default_value="127.0.0.1",
            description="Address to listen on; others than loopback need allowed_hosts if "
            "they are every address of the machine.",
        ),
        DeclareLaunchArgument(
            "port", default_value="8170", description="Port to listen on; 0: a free one."
        ),
        DeclareLaunchArgument(
            "allowed_hosts",
            default_value="",
            description="Further names under which browsers reach the page, separated by commas.",
        ),
        DeclareLaunchArgument(
            "read_only",
            default_value="false",
            choices=["true", "false"],
            description="Show only: the page changes nothing.",
        ),
    ]
    console = Node(
        package=PACKAGE,
        executable="rmpsam_console",
        name="rmpsam_console",
        parameters=[
            {
                "node": value("node", str),
                "address": value("address", str),
                "port": value("port", int),
                "allowed_hosts": value("allowed_hosts", str),
                "read_only": value("read_only", bool),
            }
        ],
        output="screen",
    )
    return LaunchDescription([*arguments, console])
