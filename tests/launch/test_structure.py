"""Launch files declare every argument with a description and start only what is installed."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rmpsam_ros.node.parameters.camera_source_table import CAMERA_SOURCE_PARAMETERS
from rmpsam_ros.node.parameters.table import NODE_PARAMETERS

Calls = Callable[[Path, str], list[ast.Call]]
Keyword = Callable[[ast.Call, str], object]

ARGUMENT = "DeclareLaunchArgument"
LAUNCHING = Path(__file__).resolve().parents[2] / "rmpsam_ros" / "launching.py"
CAMERAS = ("camera.launch.py", "multi_camera.launch.py")

# They hide arguments from --show-args, run other programs, or evaluate text as code. The one
# OpaqueFunction is in `rmpsam_ros.launching`, and declares nothing.
FORBIDDEN = {"OpaqueFunction", "PythonExpression", "Command", "eval", "exec", "subprocess"}
# The one program that is started: it has no executable of a package.
ALLOWED_PROGRAM = ["ros2", "bag", "play", "--loop"]
# Executables of camera drivers, by their packages.
DRIVERS = {
    "usb_cam": "usb_cam_node_exe",
    "v4l2_camera": "v4l2_camera_node",
    "realsense2_camera": "realsense2_camera_node",
}


def table_names(table: dict[str, tuple[object, ...]]) -> set[str]:
    return {getattr(parameter, "name") for group in table.values() for parameter in group}  # noqa: B009


def declared_arguments(path: Path, calls: Calls) -> list[str]:
    return [ast.literal_eval(call.args[0]) for call in calls(path, ARGUMENT)]


def test_there_are_launch_files(source_root: Path) -> None:
    names = {path.name for path in (source_root / "launch").iterdir() if path.is_file()}
    assert {
        "camera.launch.py",
        "multi_camera.launch.py",
        "rviz.launch.py",
        "console.launch.py",
    } <= names


def test_every_argument_is_described(launch_file: Path, calls: Calls) -> None:
    declarations = calls(launch_file, ARGUMENT)
    assert declarations
    for call in declarations:
        words = {word.arg: word.value for word in call.keywords}
        assert "default_value" in words, ast.unparse(call)
        description = ast.literal_eval(words["description"])
        assert len(description) > 20 and description.endswith("."), ast.unparse(call)


def test_every_argument_is_used_and_every_used_one_is_declared(
    launch_file: Path, calls: Calls
) -> None:
    declared = declared_arguments(launch_file, calls)
    assert len(declared) == len(set(declared))
    tree = ast.parse(launch_file.read_text())
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not [name for name in declared if texts.count(name) < 2]
    used = {
        call.args[0].value
        for call in calls(launch_file, "LaunchConfiguration")
        if isinstance(call.args[0], ast.Constant)
    }
    shared = constant(LAUNCHING, "OWN_ARGUMENTS") + constant(LAUNCHING, "COMMON_ARGUMENTS")
    assert used <= {*declared, *(shared if "*node_arguments()" in launch_file.read_text() else ())}


def test_nothing_is_evaluated_or_installed(launch_file: Path) -> None:
    tree = ast.parse(launch_file.read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & FORBIDDEN
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    foreign = {name for name in imported if name and name.split(".")[0] not in WELCOME}
    assert not foreign


WELCOME = {"launch", "launch_ros", "ament_index_python", "rmpsam_ros", "__future__"}


def test_programs_are_started_without_a_shell(launch_file: Path, calls: Calls) -> None:
    for call in calls(launch_file, "ExecuteProcess"):
        words = {word.arg: word.value for word in call.keywords}
        assert "shell" not in words
        command = words["cmd"]
        assert isinstance(command, ast.List)
        fixed = [ast.literal_eval(one) for one in command.elts if isinstance(one, ast.Constant)]
        assert fixed == ALLOWED_PROGRAM


def test_executables_are_installed(
    launch_file: Path, calls: Calls, keyword: Keyword, source_root: Path
) -> None:
    install_rules = (source_root / "CMakeLists.txt").read_text()
    nodes = calls(launch_file, "Node")
    assert nodes
    if calls(launch_file, "perception_node"):
        nodes += calls(LAUNCHING, "Node")
    for node in nodes:
        executable = keyword(node, "executable")
        words = {word.arg: word.value for word in node.keywords}
        if ast.unparse(words["package"]) == "PACKAGE":
            assert (source_root / "scripts" / str(executable)).is_file()
            assert f"scripts/{executable}" in install_rules
        elif isinstance(words["package"], ast.Call):
            assert ast.unparse(words["package"].func) == "Installed"
            assert executable == DRIVERS[ast.literal_eval(words["package"].args[0])]
            assert "condition" in words
        else:
            assert keyword(node, "package") == executable == "rviz2"


def constant(path: Path, name: str) -> Any:
    """A literal that a launch file gives a name."""
    (value,) = (
        node.value
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    )
    return ast.literal_eval(value)


@pytest.mark.parametrize("name", CAMERAS)
def test_camera_arguments_are_parameters_of_the_nodes(
    name: str, source_root: Path, calls: Calls
) -> None:
    path = source_root / "launch" / name
    assert set(constant(LAUNCHING, "OWN_ARGUMENTS")) <= table_names(NODE_PARAMETERS)
    declared = set(declared_arguments(path, calls))
    source = {name.removeprefix("source_") for name in declared if name.startswith("source_")}
    assert source <= table_names(CAMERA_SOURCE_PARAMETERS)


@pytest.mark.parametrize("name", CAMERAS)
def test_launch_files_of_cameras_share_what_the_node_takes(
    name: str, source_root: Path, calls: Calls
) -> None:
    path = source_root / "launch" / name
    shared = constant(LAUNCHING, "OWN_ARGUMENTS") + constant(LAUNCHING, "COMMON_ARGUMENTS")
    assert len(calls(path, "node_arguments")) == len(calls(path, "perception_node")) == 1
    assert not set(declared_arguments(path, calls)) & set(shared)


def test_rviz_shows_topics_of_the_node(source_root: Path) -> None:
    config = yaml.safe_load((source_root / "rviz" / "rmpsam.rviz").read_text())
    displays = config["Visualization Manager"]["Displays"]
    topics = [display["Topic"]["Value"] for display in displays]
    assert "/rmpsam/overlay" in topics
    sources = "".join(
        path.read_text() for path in (source_root / "rmpsam_ros" / "node").rglob("*.py")
    )
    for topic in topics:
        name = topic.removeprefix("/rmpsam/")
        assert f'"{name}"' in sources, f"the node has no topic {topic}"


def test_every_topic_of_rviz_can_be_that_of_another_node(source_root: Path) -> None:
    config = yaml.safe_load((source_root / "rviz" / "rmpsam.rviz").read_text())
    shown = {one["Topic"]["Value"] for one in config["Visualization Manager"]["Displays"]}
    topics = constant(source_root / "launch" / "rviz.launch.py", "TOPICS")
    remapped = {f"/rmpsam/{topic}" for topic in topics}
    assert remapped == shown


def test_rviz_windows_belong_to_displays(source_root: Path) -> None:
    config = yaml.safe_load((source_root / "rviz" / "rmpsam.rviz").read_text())
    manager = config["Visualization Manager"]
    for display in manager["Displays"]:
        has_window = display["Class"].endswith("/Image")
        assert (display["Name"] in config["Window Geometry"]) == has_window
    defaults = {p.name: p.default for group in CAMERA_SOURCE_PARAMETERS.values() for p in group}
    assert manager["Global Options"]["Fixed Frame"] == defaults["frame_id"]


def test_console_arguments_are_its_parameters(source_root: Path, calls: Calls) -> None:
    settings = pytest.importorskip("rmpsam_ros.console.settings", reason="needs ROS 2 (rclpy)")
    declared = declared_arguments(source_root / "launch" / "console.launch.py", calls)
    table = {one.name: one for group in settings.CONSOLE_PARAMETERS.values() for one in group}
    assert set(declared) <= table.keys()
    for call in calls(source_root / "launch" / "console.launch.py", ARGUMENT):
        words = {word.arg: word.value for word in call.keywords}
        default = table[ast.literal_eval(call.args[0])].default
        text = str(default).lower() if isinstance(default, bool) else str(default)
        assert ast.literal_eval(words["default_value"]) == text
