"""Processes: start-up, its failures, quality of service, compressed images, signals."""

import re
import signal
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from rmpsam_ros.msg import InstanceTrackArray, Latency, PanopticSegmentation

SMALL_NETWORK = {
    "weights": "random",
    "long_side": 96,
    "short_side": 96,
    "num_threads": 1,
    "prompt_engine": "rmpsam",
}
BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"score_threshold": 1.5}, "score_threshold"),
        ({"long_side": "wide"}, "long_side"),
        (
            {"image_transport": "jpeg"},
            "'jpeg'; expected one of raw, compressed",
        ),
    ],
)
def test_a_bad_parameter_at_start_is_one_clear_line(start_program, parameters, words):
    program = start_program("rmpsam_node", parameters)
    assert program.wait() == 1
    (line,) = program.log.splitlines()
    assert "not started" in line
    assert words in line


def test_a_network_that_cannot_be_loaded_is_reported_and_another_one_is_loaded(
    start_program, get_state, wait_for_status, set_parameter, change_state
):
    program = start_program("rmpsam_node", {**SMALL_NETWORK, "weights": "/no/such/file.pth"})
    status = wait_for_status("network", {2}, "cannot be loaded")
    assert "/no/such/file.pth" in status.message or "text_embeddings" in status.message
    assert get_state() == "unconfigured"
    program.wait_for_log("ros2 lifecycle set /rmpsam configure")
    assert not change_state("configure")
    assert set_parameter("weights", "random") == ""
    assert change_state("configure") and change_state("activate")
    wait_for_status("network", {1}, "random weights")
    assert program.end() == 0
    assert "Traceback" not in program.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_the_node_while_it_loads(start_program, number):
    program = start_program("rmpsam_node", SMALL_NETWORK)
    program.wait_for_log("loading PyTorch")
    assert program.end(number) == 0
    assert "Traceback" not in program.log


def test_incompatible_quality_of_service_is_reported_both_ways(
    start_program, listener, wait_for_status
):
    program = start_program(
        "rmpsam_node",
        {
            **SMALL_NETWORK,
            "qos_overrides./front/image.subscription.reliability": "reliable",
            "qos_overrides./rmpsam/tracks.publisher.reliability": "best_effort",
        },
        {"image": "/front/image"},
    )
    listener.subscribe(InstanceTrackArray, "/rmpsam/tracks", RELIABLE)
    images = listener.node.create_publisher(Image, "/front/image", BEST_EFFORT)
    status = wait_for_status("input", {2}, "best effort cannot serve reliable")
    for words in (
        "1 publisher(s)",
        "/listener",
        "/front/image",
        "set image_reliability or",
        "qos_overrides./front/image.subscription.reliability to best_effort",
    ):
        assert words in status.message
    program.wait_for_log("nothing can arrive on /front/image")
    status = wait_for_status("outputs", {1}, "best effort cannot serve reliable")
    assert "/listener wants reliable" in status.message
    program.wait_for_log("subscriber(s) of /rmpsam/tracks get nothing")
    listener.node.destroy_publisher(images)
    listener.publisher(Image, "/front/image", RELIABLE)
    wait_for_status("input", {0})
    assert program.end() == 0


def test_compressed_images_from_the_camera_source(
    start_program, listener, wait_for, wait_for_status, tmp_path
):
    import cv2
    import numpy as np

    cv2.imwrite(str(tmp_path / "a.png"), np.full((48, 64, 3), 90, np.uint8))
    remap = {"image": "/cam/image"}
    program = start_program(
        "rmpsam_node", {**SMALL_NETWORK, "image_transport": "compressed"}, remap
    )
    source = start_program(
        "camera_source",
        {"source": tmp_path, "rate": 20.0, "loop": True, "encoding": "jpeg", "frame_id": "c"},
        remap,
    )
    latencies = listener.subscribe(Latency, "/rmpsam/latency")
    wait_for(lambda: latencies, "a result")
    assert latencies[0].header.frame_id == "c"
    assert "first image processed: 64 x 48" in program.log
    assert source.end() == 0
    images = listener.publisher(CompressedImage, "/cam/image/compressed")
    bad = CompressedImage(format="jpeg", data=b"\xff\xd8 this is no picture")
    wait_for_status("processing", {1, 2}, "JPEG is cut off", meanwhile=lambda: images.publish(bad))
    assert program.end(signal.SIGTERM) == 0
    assert "Traceback" not in program.log + source.log


def test_a_camera_that_dies_and_comes_back_is_heard_again(
    start_program, listener, get_state, change_state, wait_for, wait_for_status, tmp_path
):
    import cv2
    import numpy as np

    cv2.imwrite(str(tmp_path / "a.png"), np.full((48, 64, 3), 90, np.uint8))
    program = start_program("rmpsam_node", {**SMALL_NETWORK, "input_timeout": 1.0})
    camera = {"source": tmp_path, "rate": 10.0, "loop": True}
    latencies = listener.subscribe(Latency, "/rmpsam/latency")
    for frame_id in ("first", "second", "third"):
        source = start_program("camera_source", {**camera, "frame_id": frame_id})
        wait_for(
            lambda name=frame_id: latencies and latencies[-1].header.frame_id == name, "results"
        )
        wait_for_status("input", {0}, "images per second")
        source.process.kill()  # it cannot say goodbye
        source.process.wait()
        wait_for_status("input", {1, 2}, "no image on /image")
    assert program.log.count("images arrive on /image") >= 2
    assert latencies[-1].frames_failed == 0
    assert change_state("shutdown")
    assert get_state() == "finalized"
    assert program.end() == 0
    assert "Traceback" not in program.log


def test_two_cameras_are_served_side_by_side(
    start_program, listener, make_image, wait_for, wait_for_status
):
    program = start_program(
        "rmpsam_node",
        {**SMALL_NETWORK, "cameras": "front,rear", "input_timeout": 1.0},
        {"front/image": "/front/image_raw"},
    )
    results = {
        camera: listener.subscribe(PanopticSegmentation, f"/rmpsam/{camera}/panoptic")
        for camera in ("front", "rear")
    }
    front = listener.publisher(Image, "/front/image_raw")
    status = wait_for_status("rear input", {1}, "no publisher")
    assert "-r rear/image:=" in status.message
    wait_for(lambda: front.publish(make_image(1.0, frame_id="f")) or results["front"], "a result")
    rear = listener.publisher(Image, "/rear/image")
    status = wait_for_status("rear input", {1}, "though there is a compatible publisher")
    assert "no image on /rear/image" in status.message and "/listener" in status.message
    bad = make_image(2.0, encoding="nonsense")
    wait_for_status("rear processing", {1, 2}, "'nonsense'", meanwhile=lambda: rear.publish(bad))
    wait_for_status("front processing", {0})
    image = make_image(3.0, height=31, width=97, frame_id="r")
    wait_for(lambda: rear.publish(image) or results["rear"], "a result")
    (result, *_) = results["rear"]
    assert (result.header, result.height, result.width) == (image.header, 31, 97)
    assert {one.header.frame_id for one in results["front"]} == {"f"}
    assert program.end() == 0
    assert "Traceback" not in program.log


def test_the_wrong_image_type_is_named(start_program, listener, wait_for_status):
    program = start_program("rmpsam_node", {**SMALL_NETWORK, "input_timeout": 0.5})
    listener.node.create_publisher(CompressedImage, "/image", 1)
    status = wait_for_status("input", {2}, "sensor_msgs/msg/CompressedImage")
    assert "image_transport" in status.message
    assert program.end() == 0


@pytest.mark.parametrize("executable", ["rmpsam_node", "camera_source"])
def test_control_c_while_modules_are_imported_gives_no_traceback(
    start_program, wait_for, executable
):
    program = start_program(executable)
    status = Path(f"/proc/{program.process.pid}/status")

    def python_handles_it():
        caught = int(re.search(r"^SigCgt:\s*(\w+)", status.read_text(), re.MULTILINE)[1], 16)
        return bool(caught & 1 << (signal.SIGINT - 1))

    wait_for(python_handles_it, "the begin of Python")
    wait_for(lambda: not python_handles_it(), "the begin of the program")
    assert program.end() in (0, -signal.SIGINT)
    assert program.log == ""
