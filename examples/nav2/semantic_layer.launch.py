"""Starts the node on a depth camera, and a costmap with Nav2's semantic segmentation layer.

ros2 launch $(ros2 pkg prefix --share rmpsam_ros)/examples/nav2/semantic_layer.launch.py \
    image_topic:=/camera/color/image_raw \
    depth_topic:=/camera/aligned_depth_to_color/image_raw

The costmap alone, to be looked at in RViz (/costmap/costmap): a robot has the same layer in its
own costmaps. tf must know the frame of the camera from the frame `odom`.
"""

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

COSTMAP = Path(__file__).with_name("semantic_layer.yaml")
NEEDED = {
    "vision_msgs": "apt install ros-$ROS_DISTRO-vision-msgs",
    "nav2_costmap_2d": "apt install ros-$ROS_DISTRO-nav2-costmap-2d",
    "nav2_lifecycle_manager": "apt install ros-$ROS_DISTRO-nav2-lifecycle-manager",
    "semantic_segmentation_layer": "build github.com/kiwicampus/semantic_segmentation_layer",
}


def check_installed(context: LaunchContext) -> None:
    """Raise RuntimeError with what to do if a package is not there."""
    missing = []
    for package, remedy in NEEDED.items():
        try:
            get_package_prefix(package)
        except PackageNotFoundError:
            missing.append(f"{package} is not installed: {remedy}")
    if missing:
        raise RuntimeError("; ".join(missing))


def generate_launch_description() -> LaunchDescription:
    """Return what is started, in this order."""
    camera = PathJoinSubstitution([FindPackageShare("rmpsam_ros"), "launch", "camera.launch.py"])
    arguments = {
        name: LaunchConfiguration(name)
        for name in ("image_topic", "depth_topic", "camera_info_topic", "params")
    }
    return LaunchDescription(
        [
            DeclareLaunchArgument("image_topic", default_value="/camera/color/image_raw"),
            DeclareLaunchArgument(
                "depth_topic", default_value="/camera/aligned_depth_to_color/image_raw"
            ),
            DeclareLaunchArgument("camera_info_topic", default_value=""),
            DeclareLaunchArgument("params", default_value="cloud_rate:=10.0"),
            OpaqueFunction(function=check_installed),  # before anything is started
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(camera), launch_arguments=arguments.items()
            ),
            Node(
                package="nav2_costmap_2d",
                executable="nav2_costmap_2d",
                parameters=[str(COSTMAP)],
                output="screen",
            ),
            Node(
                package="nav2_lifecycle_manager",
                executable="lifecycle_manager",
                name="lifecycle_manager_costmap",
                parameters=[{"autostart": True, "node_names": ["costmap/costmap"]}],
                output="screen",
            ),
        ]
    )
