"""Starts the perception node on one camera, and if wanted what publishes its images.

ros2 launch rmpsam_ros camera.launch.py image_topic:=/front/image_raw
ros2 launch rmpsam_ros camera.launch.py source:=drive.mp4
ros2 launch rmpsam_ros camera.launch.py driver:=realsense2_camera depth_topic:=/camera/depth
"""

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import Condition, LaunchContext, LaunchDescription, Substitution
from launch.actions import DeclareLaunchArgument, ExecuteProcess
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from rmpsam_ros.launching import (
    PACKAGE,
    console_node,
    exactly,
    given,
    node_arguments,
    perception_node,
)


class Installed(Substitution):
    """The name of a package, which must be there."""

    def __init__(self, package: str) -> None:
        super().__init__()
        self._package = package

    def perform(self, context: LaunchContext) -> str:
        """Return the name; raise RuntimeError with what to do if the package is not there."""
        try:
            get_package_prefix(self._package)
        except PackageNotFoundError:
            debian = self._package.replace("_", "-")
            raise RuntimeError(
                f"package {self._package} is not installed: apt install "
                f"ros-$ROS_DISTRO-{debian}, or start the camera in another way and leave out "
                "driver:="
            ) from None
        return self._package


class Beside(Substitution):
    """The topic that an argument names, else the one of a name beside the images."""

    def __init__(self, argument: str, name: str) -> None:
        super().__init__()
        self._argument = argument
        self._name = name

    def perform(self, context: LaunchContext) -> str:
        """Return the topic; camera drivers put camera_info beside image_raw."""
        images = LaunchConfiguration("image_topic").perform(context)
        folder, slash, _ = images.rpartition("/")
        named = LaunchConfiguration(self._argument).perform(context)
        return named or f"{folder}{slash}{self._name}"


def chosen(driver: str) -> Condition:
    """True if this is the driver to start."""
    return Condition(
        predicate=lambda context: LaunchConfiguration("driver").perform(context) == driver
    )


def use_depth(context: LaunchContext) -> dict[str, bool]:
    """The node uses depth if its topic is given."""
    return {"use_depth": True} if LaunchConfiguration("depth_topic").perform(context) else {}


def drivers() -> list[Node | ExecuteProcess]:
    """What argument driver starts; the drivers' own documentation tells of their parameters."""
    topics = [
        ("image_raw", LaunchConfiguration("image_topic")),
        ("camera_info", Beside("camera_info_topic", "camera_info")),
    ]
    realsense_topics = [
        ("~/color/image_raw", LaunchConfiguration("image_topic")),
        ("~/color/camera_info", Beside("camera_info_topic", "camera_info")),
        ("~/aligned_depth_to_color/image_raw", Beside("depth_topic", "depth")),
    ]
    common = {"namespace": LaunchConfiguration("namespace"), "output": "screen"}
    usb_cam = Node(
        package=Installed("usb_cam"),
        executable="usb_cam_node_exe",
        name="usb_cam",
        parameters=[{"video_device": exactly(LaunchConfiguration("video_device"))}],
        remappings=topics,
        condition=chosen("usb_cam"),
        **common,
    )
    v4l2_camera = Node(
        package=Installed("v4l2_camera"),
        executable="v4l2_camera_node",
        name="v4l2_camera",
        parameters=[{"video_device": exactly(LaunchConfiguration("video_device"))}],
        remappings=topics,
        condition=chosen("v4l2_camera"),
        **common,
    )
    realsense = Node(
        package=Installed("realsense2_camera"),
        executable="realsense2_camera_node",
        name="realsense",
        parameters=[{"enable_color": True, "enable_depth": True, "align_depth.enable": True}],
        remappings=realsense_topics,
        condition=chosen("realsense2_camera"),
        **common,
    )
    rosbag = ExecuteProcess(
        cmd=["ros2", "bag", "play", "--loop", LaunchConfiguration("bag")],
        output="screen",
        condition=chosen("rosbag"),
    )
    return [usb_cam, v4l2_camera, realsense, rosbag]


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(
            "image_topic",
            default_value="/camera/image_raw",
            description="Images to process: the base topic of the camera driver.",
        ),
        DeclareLaunchArgument(
            "camera_info_topic",
            default_value="",
            description="Calibration of the camera, for depth and ~/mask/camera_info; empty: "
            "camera_info beside image_topic.",
        ),
        DeclareLaunchArgument(
            "depth_topic",
            default_value="",
            description="Depth images aligned to the images, as they come from "
            "aligned_depth_to_color or depth_registered; sets use_depth. Empty: as in "
            "params_file.",
        ),
        *node_arguments(),
        DeclareLaunchArgument(
            "driver",
            default_value="none",
            choices=["none", "usb_cam", "v4l2_camera", "realsense2_camera", "rosbag"],
            description="Camera driver to start with its images on image_topic, if its package is "
            "installed; rosbag plays a bag with its own topics; none: something else publishes.",
        ),
        DeclareLaunchArgument(
            "video_device",
            default_value="/dev/video0",
            description="Device of the drivers usb_cam and v4l2_camera.",
        ),
        DeclareLaunchArgument(
            "bag",
            default_value="",
            description="Bag that driver:=rosbag plays again and again.",
        ),
        DeclareLaunchArgument(
            "source",
            default_value="",
            description="Video file, image, folder of images, or device like /dev/video0 to "
            "publish on image_topic; empty: a camera driver does that.",
        ),
        DeclareLaunchArgument(
            "source_rate",
            default_value="0.0",
            description="Images per second of a source; 0.0: the rate of the video or device.",
        ),
        DeclareLaunchArgument(
            "source_loop",
            default_value="true",
            choices=["true", "false"],
            description="Start the video or folder again at its end.",
        ),
        DeclareLaunchArgument(
            "source_encoding",
            default_value="rgb8",
            description="Encoding of the source's images; jpeg and png go to "
            "<image_topic>/compressed.",
        ),
    ]
    remappings = [
        ("image", LaunchConfiguration("image_topic")),
        ("camera_info", Beside("camera_info_topic", "camera_info")),
        ("depth", Beside("depth_topic", "depth")),
    ]
    perception = perception_node(use_depth, remappings=remappings)
    camera_source = Node(
        package=PACKAGE,
        executable="camera_source",
        name="camera_source",
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            {
                "source": exactly(LaunchConfiguration("source")),
                "rate": ParameterValue(LaunchConfiguration("source_rate"), value_type=float),
                "loop": ParameterValue(LaunchConfiguration("source_loop"), value_type=bool),
                "encoding": exactly(LaunchConfiguration("source_encoding")),
            }
        ],
        remappings=remappings,
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        output="screen",
        condition=given(LaunchConfiguration("source")),
    )
    # Drivers first: if one is not installed, nothing is started.
    return LaunchDescription([*arguments, *drivers(), perception, camera_source, console_node()])
