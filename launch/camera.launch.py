"""Starts the perception node on one camera, and if wanted what publishes its images.

ros2 launch rmpsam_ros camera.launch.py image_topic:=/front/image_raw
ros2 launch rmpsam_ros camera.launch.py source:=drive.mp4
ros2 launch rmpsam_ros camera.launch.py driver:=realsense2_camera depth_topic:=/camera/depth
"""

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import Condition, LaunchContext, LaunchDescription, Substitution
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    SetLaunchConfiguration,
)
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PACKAGE = "rmpsam_ros"

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
GIVEN_BY = {**{name: name for name in OVERRIDES}, "use_depth": "depth_topic"}


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


class FullName(Substitution):
    """The perception node's name with its namespace."""

    def perform(self, context: LaunchContext) -> str:
        """Return the name; it begins with a slash."""
        namespace = LaunchConfiguration("namespace").perform(context).strip("/")
        name = LaunchConfiguration("node_name").perform(context)
        return f"/{namespace}/{name}" if namespace else f"/{name}"


def given(argument: str) -> Condition:
    """True if the argument is not empty."""

    def is_given(context: LaunchContext) -> bool:
        return LaunchConfiguration(argument).perform(context) != ""

    return Condition(predicate=is_given)


def chosen(driver: str) -> Condition:
    """True if this is the driver to start."""
    return Condition(
        predicate=lambda context: LaunchConfiguration("driver").perform(context) == driver
    )


def parameter_names() -> list[SetLaunchConfiguration]:
    """Sets, for every parameter of GIVEN_BY, the name under which the node gets its value.

    Parameters cannot be left out conditionally, but the node ignores names that it does not
    declare: one whose argument is not given goes to such a name.
    """
    nowhere = [
        SetLaunchConfiguration(f"{name}_parameter", f"not_given.{name}") for name in GIVEN_BY
    ]
    own_names = [
        SetLaunchConfiguration(f"{name}_parameter", name, condition=given(argument))
        for name, argument in GIVEN_BY.items()
    ]
    return nowhere + own_names


def text(argument: str) -> ParameterValue:
    """The argument as a string parameter, even if it looks like a number."""
    return ParameterValue(LaunchConfiguration(argument), value_type=str)


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
        parameters=[{"video_device": text("video_device")}],
        remappings=topics,
        condition=chosen("usb_cam"),
        **common,
    )
    v4l2_camera = Node(
        package=Installed("v4l2_camera"),
        executable="v4l2_camera_node",
        name="v4l2_camera",
        parameters=[{"video_device": text("video_device")}],
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
    overrides = {
        LaunchConfiguration(f"{name}_parameter"): text(name) if name in OVERRIDES else True
        for name in GIVEN_BY
    }
    remappings = [
        ("image", LaunchConfiguration("image_topic")),
        ("camera_info", Beside("camera_info_topic", "camera_info")),
        ("depth", Beside("depth_topic", "depth")),
    ]
    autostart = ParameterValue(LaunchConfiguration("autostart"), value_type=bool)
    perception = Node(
        package=PACKAGE,
        executable="rmpsam_node",
        name=LaunchConfiguration("node_name"),
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            LaunchConfiguration("params_file"),
            {"autostart": autostart, **overrides},
        ],
        remappings=remappings,
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        output="screen",
    )
    camera_source = Node(
        package=PACKAGE,
        executable="camera_source",
        name="camera_source",
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            {
                "source": text("source"),
                "rate": ParameterValue(LaunchConfiguration("source_rate"), value_type=float),
                "loop": ParameterValue(LaunchConfiguration("source_loop"), value_type=bool),
                "encoding": text("source_encoding"),
            }
        ],
        remappings=remappings,
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        output="screen",
        condition=given("source"),
    )
    # Drivers first: if one is not installed, nothing is started.
    return LaunchDescription(
        [*arguments, *parameter_names(), *drivers(), perception, camera_source, console()]
    )
