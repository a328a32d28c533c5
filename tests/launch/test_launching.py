"""The launch files run under the real launch system, where it is installed."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("launch_ros", reason="launch_ros is not installed; it comes with ROS 2")

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument, ExecuteProcess, GroupAction, OpaqueFunction
from launch_ros.actions import Node
from launch_ros.utilities import evaluate_parameters

from rmpsam_ros.launching import COMMON_ARGUMENTS, OWN_ARGUMENTS
from rmpsam_ros.node.parameters.parameter import ParameterError

START_UP_SECONDS = 120.0


def describe(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.name.replace(".", "_"), path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


def test_show_args_lists_every_argument(launch_file: Path) -> None:
    listed = [argument.name for argument in describe(launch_file).get_launch_arguments()]
    text = launch_file.read_text()
    shared = (*OWN_ARGUMENTS, *COMMON_ARGUMENTS) if "*node_arguments()" in text else ()
    assert len(listed) == text.count(" DeclareLaunchArgument(") + len(shared)
    assert set(shared) <= set(listed)


def test_every_argument_of_the_node_is_described(source_root: Path) -> None:
    description = describe(source_root / "launch" / "camera.launch.py")
    for argument in description.get_launch_arguments():
        assert len(argument.description) > 20 and "." in argument.description


def test_arguments_are_at_top_level(launch_file: Path) -> None:
    entities = describe(launch_file).entities
    top = [entity for entity in entities if isinstance(entity, DeclareLaunchArgument)]
    assert len(top) == len(describe(launch_file).get_launch_arguments())


def test_wrong_choice_is_refused(source_root: Path) -> None:
    description = describe(source_root / "launch" / "camera.launch.py")
    arguments = {argument.name: argument for argument in description.get_launch_arguments()}
    context = LaunchContext()
    context.launch_configurations["image_transport"] = "pigeon"
    with pytest.raises(RuntimeError, match="pigeon"):
        arguments["image_transport"].execute(context)


def execute(path: Path, **arguments: str) -> tuple[LaunchContext, list[Any]]:
    """The context of a launch file's arguments, and its actions whose condition is true."""
    context = LaunchContext()
    description = describe(path)
    for argument in description.get_launch_arguments():
        value = arguments.get(argument.name)
        if value is None:
            value = "".join(one.perform(context) for one in argument.default_value)
        context.launch_configurations[argument.name] = value
    actions = []
    for entity in description.entities:
        if isinstance(entity, DeclareLaunchArgument):
            continue
        if entity.condition is None or entity.condition.evaluate(context):
            opaque = isinstance(entity, OpaqueFunction)
            actions += (entity.execute(context) or []) if opaque else [entity]
    return context, actions


@pytest.mark.parametrize("driver", ["usb_cam", "v4l2_camera", "realsense2_camera"])
def test_a_driver_that_is_not_installed_is_named(
    source_root: Path, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/nowhere")
    path = source_root / "launch" / "camera.launch.py"
    context, actions = execute(path, driver=driver, params_file="any.yaml")
    chosen = [one for one in actions if isinstance(one, Node)]
    assert len(chosen) == 2  # the driver comes first, so that nothing else is started
    with pytest.raises(RuntimeError, match=f"package {driver} is not installed: apt install"):
        chosen[0].execute(context)


@pytest.mark.parametrize("driver", ["none", "rosbag"])
def test_other_drivers_start_no_node(source_root: Path, driver: str) -> None:
    path = source_root / "launch" / "camera.launch.py"
    _, actions = execute(path, driver=driver, params_file="any.yaml", bag="drive")
    assert len([one for one in actions if isinstance(one, Node)]) == 1
    assert len([one for one in actions if isinstance(one, ExecuteProcess)]) == 1 + (
        driver == "rosbag"
    )


def perception(path: Path, **arguments: str) -> tuple[Node, dict[str, Any]]:
    """The perception node of a launch file, and the parameters that it sets by value."""
    context, actions = execute(path, params_file=os.devnull, **arguments)
    groups = [one for one in actions if isinstance(one, GroupAction)]
    for group in groups:
        for entity in group.get_sub_entities():
            if isinstance(entity, OpaqueFunction):
                actions += entity.execute(context) or []
    (node,) = (
        one for one in actions if isinstance(one, Node) and one.node_executable == "rmpsam_node"
    )
    values = evaluate_parameters(context, node._Node__parameters)
    return node, next(one for one in values if isinstance(one, dict))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, ("/camera/camera_info", "/camera/depth", {})),
        ({"image_topic": "image"}, ("camera_info", "depth", {})),
        (
            {"image_topic": "/a/b/image_raw", "depth_topic": "/a/d/image_raw"},
            ("/a/b/camera_info", "/a/d/image_raw", {"use_depth": True}),
        ),
        ({"camera_info_topic": "/info"}, ("/info", "/camera/depth", {})),
    ],
)
def test_topics_of_depth(
    source_root: Path, arguments: dict[str, str], expected: tuple[str, str, dict[str, bool]]
) -> None:
    path = source_root / "launch" / "camera.launch.py"
    context, _ = execute(path, params_file=os.devnull, **arguments)
    node, values = perception(path, **arguments)
    remappings = {
        "".join(part.perform(context) for part in old): "".join(
            part.perform(context) for part in new
        )
        for old, new in node._Node__remappings
    }
    assert (remappings["camera_info"], remappings["depth"], values) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, {}),
        ({"params": "score_threshold:=0.5"}, {"score_threshold": 0.5}),
        (
            {"params": "long_side:=320 classes:='person, car'", "weights": "007"},
            {"long_side": 320, "classes": "person, car", "weights": "007"},
        ),
        ({"engine": "torch", "params": "engine:=openvino"}, {"engine": "openvino"}),
        ({"autostart": "false"}, {"autostart": False}),
        ({"params": "text_embeddings:='' labels:=1.5"}, {"text_embeddings": "", "labels": "1.5"}),
    ],
)
@pytest.mark.parametrize("name", ["camera", "multi_camera"])
def test_parameters_reach_the_node_in_their_types(
    source_root: Path, name: str, arguments: dict[str, str], expected: dict[str, Any]
) -> None:
    _, values = perception(source_root / "launch" / f"{name}.launch.py", **arguments)
    cameras = {} if name == "camera" else {"cameras": "front,rear"}
    assert values == cameras | expected
    assert [type(values[key]) for key in expected] == [type(one) for one in expected.values()]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"params": "score_treshold:=0.5"}, "did you mean 'score_threshold'"),
        ({"params": "score_threshold:=2"}, "score_threshold is 2.0; expected 0 to 1"),
        ({"params": "score_threshold"}, "expected name:=value"),
    ],
)
@pytest.mark.parametrize("name", ["camera", "multi_camera"])
def test_a_parameter_that_the_node_would_not_take_is_refused(
    source_root: Path, name: str, arguments: dict[str, str], reason: str
) -> None:
    with pytest.raises(ParameterError, match=reason):
        perception(source_root / "launch" / f"{name}.launch.py", **arguments)


@pytest.mark.parametrize(("given", "used"), [("", False), ("/d", True)])
def test_depth_of_several_cameras_is_used_when_it_is_named(
    source_root: Path, given: str, used: bool
) -> None:
    path = source_root / "launch" / "multi_camera.launch.py"
    _, values = perception(path, depth_topics=given)
    assert ("use_depth" in values) == used


COMMON = ("namespace:=/robot", "node_name:=eyes", "source_rate:=5.0", "engine:=torch")
COMMON += ("weights:=random",)
LAUNCHES = {
    "camera": (*COMMON, "image_topic:=/front/image", "source:={0}"),
    "multi_camera": (*COMMON, "image_topics:=/front/image_raw", "sources:={0},{1}"),
}
RESULTS = {
    "camera": {"/robot/eyes/panoptic": "camera"},
    "multi_camera": {"/robot/eyes/front/panoptic": "front", "/robot/eyes/rear/panoptic": "rear"},
}


@pytest.fixture(params=sorted(LAUNCHES))
def kind(request: pytest.FixtureRequest) -> str:
    """Every launch file of cameras in turn."""
    return str(request.param)


@pytest.fixture
def launched(
    kind: str, source_root: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[subprocess.Popen[str]]:
    """A launch file of the installed package, on the demo's footage, in a domain of its own."""
    ros2 = shutil.which("ros2")
    if ros2 is None:
        pytest.skip("the ros2 command is not installed")
    footage = sorted((source_root / "demo" / "footage").glob("*.mp4"))
    monkeypatch.setenv("ROS_DOMAIN_ID", str(random.randrange(20, 100)))
    arguments = [one.format(footage[0], footage[-1]) for one in LAUNCHES[kind]]
    process = subprocess.Popen(
        [sys.executable, ros2, "launch", "rmpsam_ros", f"{kind}.launch.py", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=10.0)


@pytest.mark.slow
def test_launched_nodes_give_results(kind: str, launched: subprocess.Popen[str]) -> None:
    import rclpy

    from rmpsam_ros.msg import PanopticSegmentation

    received: dict[str, PanopticSegmentation] = {}
    rclpy.init()
    node = rclpy.create_node("listener")
    try:
        for topic in RESULTS[kind]:
            node.create_subscription(
                PanopticSegmentation, topic, functools.partial(received.__setitem__, topic), 1
            )
        deadline = time.monotonic() + START_UP_SECONDS
        missing = set(RESULTS[kind])
        while missing - set(received) and time.monotonic() < deadline and launched.poll() is None:
            rclpy.spin_once(node, timeout_sec=0.2)
        launched.send_signal(signal.SIGINT)
        output, _ = launched.communicate(timeout=60.0)
    finally:
        node.destroy_node()
        rclpy.shutdown()
    frames = {topic: message.header.frame_id for topic, message in received.items()}
    assert frames == RESULTS[kind], output
    assert launched.returncode == 0, output
    assert "Traceback" not in output


STAND_IN = """#!{python}
import json, signal, sys
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
print("STAND-IN", json.dumps(sys.argv[1:]), flush=True)
signal.pause()
"""
PROGRAMS = {
    "rviz2": "rviz2",
    "usb_cam": "usb_cam_node_exe",
    "v4l2_camera": "v4l2_camera_node",
    "realsense2_camera": "realsense2_camera_node",
    "rosbag": "ros2",
}
STARTED = {
    # launch file and arguments, and what the program is told
    "rviz2": (
        ("rviz.launch.py", "results:=/robot/eyes/front", "fixed_frame:=map"),
        ("-f map", "/rmpsam/overlay:=/robot/eyes/front/overlay", "rviz/rmpsam.rviz"),
    ),
    "usb_cam": (
        ("camera.launch.py", "image_topic:=/front/image_raw", "namespace:=robot"),
        ("image_raw:=/front/image_raw", "camera_info:=/front/camera_info", "__ns:=/robot"),
    ),
    "v4l2_camera": (
        ("camera.launch.py", "image_topic:=/a/image", "camera_info_topic:=/b/info"),
        ("image_raw:=/a/image", "camera_info:=/b/info"),
    ),
    "realsense2_camera": (
        ("camera.launch.py", "image_topic:=/color/image", "depth_topic:=/depth/image"),
        (
            "~/color/image_raw:=/color/image",
            "~/color/camera_info:=/color/camera_info",
            "~/aligned_depth_to_color/image_raw:=/depth/image",
        ),
    ),
    "rosbag": (("camera.launch.py", "bag:=my drive"), ("bag play --loop my drive",)),
}


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Installs a package whose program only tells its arguments, and ends when it is told to."""

    def install(package: str) -> None:
        marker = tmp_path / "share" / "ament_index" / "resource_index" / "packages" / package
        program = tmp_path / "lib" / package / PROGRAMS[package]
        for path, text in ((marker, ""), (program, STAND_IN.format(python=sys.executable))):
            path.parent.mkdir(parents=True)
            path.write_text(text)
        program.chmod(0o755)
        prefixes = f"{tmp_path}{os.pathsep}{os.environ['AMENT_PREFIX_PATH']}"
        monkeypatch.setenv("AMENT_PREFIX_PATH", prefixes)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("ROS_DOMAIN_ID", str(random.randrange(20, 100)))

    return install


@pytest.mark.slow
@pytest.mark.parametrize("package", PROGRAMS)
def test_programs_of_other_packages_are_started(
    package: str, stand_in: Callable[[str], None]
) -> None:
    ros2 = shutil.which("ros2")
    if ros2 is None:
        pytest.skip("the ros2 command is not installed")
    stand_in(package)  # of `ros2`, too, as the launch files find it
    (file, *arguments), expected = STARTED[package]
    if file == "camera.launch.py":
        arguments += [f"driver:={package}", "weights:=random", "autostart:=false"]
    process = subprocess.Popen(
        [sys.executable, ros2, "launch", "rmpsam_ros", file, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    end = threading.Timer(START_UP_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
    end.start()
    lines = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if "STAND-IN" in line:
                break
        process.send_signal(signal.SIGINT)
        lines.append(process.communicate(timeout=60.0)[0])
    finally:
        end.cancel()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10.0)
    output = "".join(lines)
    told = re.search(r"STAND-IN (\[.*\])", output)
    assert told is not None, output
    words = " ".join(json.loads(told[1]))
    assert not [one for one in expected if one not in words], words
