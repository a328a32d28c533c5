"""Opens RViz with the results of the perception node."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

# What the configuration shows, below the name of a perception node or of one of its cameras.
TOPICS = (
    "overlay",
    "panoptic/semantic",
    "panoptic/instance",
    "markers",
    "labelled_cloud",
)


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "rviz_config",
                default_value=PathJoinSubstitution(
                    [FindPackageShare("rmpsam_ros"), "rviz", "rmpsam.rviz"]
                ),
                description="RViz configuration; this package's shows the topics below /rmpsam.",
            ),
            DeclareLaunchArgument(
                "results",
                default_value="/rmpsam",
                description="Full name of the perception node, or with several cameras of one of "
                "them, /rmpsam/front.",
            ),
            DeclareLaunchArgument(
                "fixed_frame",
                default_value="camera",
                description="Frame in which markers and cloud are shown: frame_id of the images, "
                "or any frame that tf connects with it.",
            ),
            Node(
                package="rviz2",
                executable="rviz2",
                arguments=[
                    "-d",
                    LaunchConfiguration("rviz_config"),
                    "-f",
                    LaunchConfiguration("fixed_frame"),
                ],
                remappings=[
                    (f"/rmpsam/{topic}", [LaunchConfiguration("results"), f"/{topic}"])
                    for topic in TOPICS
                ],
                output="screen",
            ),
        ]
    )
