"""Starts the perception node on one camera, and a camera source from files if one is named."""

from launch import Condition, LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, SetLaunchConfiguration
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


def given(argument: str) -> Condition:
    """True if the argument is not empty."""

    def is_given(context: LaunchContext) -> bool:
        return LaunchConfiguration(argument).perform(context) != ""

    return Condition(predicate=is_given)


def parameter_names() -> list[SetLaunchConfiguration]:
    """Sets, for every override, the name of the parameter that gets the argument's value.

    Parameters cannot be left out conditionally, but the node ignores names that it does not
    declare: an argument that is not given goes to such a name.
    """
    nowhere = [
        SetLaunchConfiguration(f"{argument}_parameter", f"not_given.{argument}")
        for argument in OVERRIDES
    ]
    own_names = [
        SetLaunchConfiguration(f"{argument}_parameter", argument, condition=given(argument))
        for argument in OVERRIDES
    ]
    return nowhere + own_names


def text(argument: str) -> ParameterValue:
    """The argument as a string parameter, even if it looks like a number."""
    return ParameterValue(LaunchConfiguration(argument), value_type=str)


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(
            "image_topic",
            default_value="/camera/image_raw",
            description="Images to process: the base topic of the camera driver.",
        ),
        DeclareLaunchArgument(
            "image_transport",
            default_value="",
            choices=["", "raw", "compressed"],
            description="raw, or compressed for JPEG or PNG on <image_topic>/compressed; "
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
            description="Checkpoint of the network (.safetensors or .pth); empty: as in "
            "params_file.",
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
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="The least severe messages that are logged.",
        ),
        DeclareLaunchArgument(
            "source",
            default_value="",
            description="Video file, folder of images, or device like /dev/video0 to publish on "
            "image_topic; empty: a camera driver does that.",
        ),
        DeclareLaunchArgument(
            "source_rate",
            default_value="0.0",
            description="Images per second of the source; 0.0: the rate of the video or device.",
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
        LaunchConfiguration(f"{argument}_parameter"): text(argument) for argument in OVERRIDES
    }
    remappings = [("image", LaunchConfiguration("image_topic"))]
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
    return LaunchDescription([*arguments, *parameter_names(), perception, camera_source])
