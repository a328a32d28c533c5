"""The real node beside `rmpsam bag`: the same results on the same frames, over real DDS."""

import copy
import json
import os
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")
pytest.importorskip("rosbags", reason="needs rosbags (pip install rosbags mcap)")

from ament_index_python.packages import get_package_share_directory
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from rmpsam_ros.msg import InstanceTrackArray, PanopticSegmentation, TrackPositionArray
from rmpsam_ros.pipeline import create_pipeline
from rmpsam_ros.recordings.bag import BagOptions, process_bag
from rmpsam_ros.recordings.message_types import PACKAGE, RecordedTypes, own_definitions
from rmpsam_ros.recordings.reading import Recording
from rmpsam_ros.recordings.settings import config_of, read_settings
from rmpsam_ros.recordings.writing import BagWriter

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("RMPSAM_TEST_DATA", ROOT.parent / "shared" / "data"))
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
NETWORK = {
    "weights": "random",
    "engine": "torch",
    "num_threads": 1,
    "long_side": 96,
    "short_side": 96,
    "score_threshold": 0.05,
    "overlap_threshold": 0.0,
    "prompt_engine": "rmpsam",
    # Segments of noise, which would be tidied away.
    "any_thing": False,
    "duplicate_iou": 0.0,
    "small_first": 0.0,
    "min_piece": 0.0,
    "min_area": 0.0,
    "max_speck": 0.0,
    "max_hole": 0.0,
}
RESULTS = {
    "/rmpsam/panoptic": PanopticSegmentation,
    "/rmpsam/tracks": InstanceTrackArray,
    "/rmpsam/panoptic/semantic": Image,
    "/rmpsam/panoptic/instance": Image,
}


@pytest.fixture(scope="module")
def types():
    return RecordedTypes()


@pytest.fixture(scope="module")
def pipeline():
    values, _ = read_settings(None, [f"{name}:={value}" for name, value in NETWORK.items()])
    created = create_pipeline(config_of(values, with_prompts=False))
    yield created, values
    created.close()


def footage(path, types):
    """A recording of the demo footage as raw images."""
    video = cv2.VideoCapture(str(ROOT / "demo" / "footage" / "pedestrians.mp4"))
    with BagWriter(path, "mcap", types) as writer:
        for k in range(12):
            good, frame = video.read()
            assert good
            frame = np.ascontiguousarray(frame[::3, ::3])
            stamp = START + k * SECOND // 25
            time = types.Time(sec=stamp // SECOND, nanosec=stamp % SECOND)
            image = types.Image(header=types.Header(stamp=time, frame_id="street"))
            image.height, image.width = frame.shape[:2]
            image.encoding, image.step = "bgr8", 3 * frame.shape[1]
            image.data = frame.reshape(-1)
            writer.write("/image", stamp, image)
    return path


def robot_bag(path, types):
    """A real robot's compressed images."""
    bag = DATA / "robot_bag_duckiedrone" / "bag"
    if not bag.is_dir():
        pytest.skip(f"the robot's recording is not there ({bag})")
    return bag


@pytest.mark.parametrize(
    ("make_bag", "topic", "kind"),
    [
        (footage, "/image", Image),
        (robot_bag, "/camera/image_raw/compressed", CompressedImage),
    ],
)
def test_every_result_is_that_of_the_node(
    make_bag, topic, kind, types, pipeline, make_program, listener, wait_for, tmp_path
):
    source = make_bag(tmp_path / "bag", types)
    expected = process(source, tmp_path / "out", pipeline, types, RESULTS)
    transport = "compressed" if kind is CompressedImage else "raw"
    with make_program("rmpsam_node", {**NETWORK, "image_transport": transport}) as node:
        node.wait_for_log("active: waiting for")
        received = {name: listener.subscribe(one, name) for name, one in RESULTS.items()}
        images = listener.publisher(kind, f"/image{'/compressed' * (kind is CompressedImage)}")
        with Recording(source) as recording:
            for count, recorded in enumerate(recording.messages({topic}), 1):
                # One after the other: at a rate at which nothing is dropped.
                images.publish(deserialize_message(bytes(recorded.data), kind))
                wait_for(
                    lambda n=count: all(len(one) >= n for one in received.values()),
                    f"the results of image {count}",
                )
        assert node.end(signal.SIGINT) == 0
    assert len(expected["/rmpsam/panoptic"]) == count
    for name, messages in received.items():
        assert as_recorded(messages, types) == expected[name]
    assert any(message.tracks for message in received["/rmpsam/tracks"])


def test_results_are_played_to_whoever_subscribes(types, pipeline, listener, wait_for, tmp_path):
    created, values = pipeline
    results = ("panoptic", "tracks", "semantic", "instance")
    source = footage(tmp_path / "bag", types)
    process_bag(source, tmp_path / "out", created, BagOptions(values, results=results))
    received = {name: listener.subscribe(kind, name) for name, kind in RESULTS.items()}
    publishers = {name: listener.publisher(kind, name) for name, kind in RESULTS.items()}
    sent = {name: [] for name in RESULTS}
    with Recording(tmp_path / "out") as recording:
        for one in recording.messages(set(RESULTS)):
            name = one.topic.name
            sent[name].append(deserialize_message(bytes(one.data), RESULTS[name]))
            publishers[name].publish(sent[name][-1])
            wait_for(lambda at=name: len(received[at]) == len(sent[at]), "what was played")
    assert received == sent
    assert {len(messages) for messages in sent.values()} == {12}


def process(source, target, pipeline, types, topics):
    """Process a recording; its messages, each as the same bytes for the same content, by topic."""
    created, values = pipeline
    results = ("panoptic", "tracks", "semantic", "instance", "positions")
    depth = {"": "/depth"} if "/rmpsam/positions" in topics else {}
    process_bag(source, target, created, BagOptions(values, results=results, depth=depth))
    with Recording(target) as recording:
        found = {name: [] for name in topics}
        for one in recording.messages(set(topics)):
            message = types.deserialize(one.data, one.topic.type_name)
            found[one.topic.name].append(bytes(types.serialize(message)))
    return found


def as_recorded(messages, types):
    """Messages of ROS 2, written as recordings are: the padding of ROS 2 may hold anything."""
    found = []
    for message in messages:
        package, _, _ = type(message).__module__.split(".")[0:3]
        name = f"{package}/msg/{type(message).__name__}"
        read = types.deserialize(serialize_message(message), name)
        found.append(bytes(types.serialize(read)))
    return found


def test_positions_are_those_of_the_node(
    types, pipeline, make_program, listener, set_parameter, wait_for, tmp_path
):
    source = tmp_path / "bag"
    rng = np.random.default_rng(5)
    sent = []
    with BagWriter(source, "mcap", types) as writer:
        for k in range(6):
            stamp = START + k * SECOND // 10
            header = types.Header(
                stamp=types.Time(sec=stamp // SECOND, nanosec=stamp % SECOND), frame_id="eye"
            )
            info = types.CameraInfo(header=header, height=60, width=80)
            info.k = np.array([70.0, 0, 39.5, 0, 70.0, 29.5, 0, 0, 1])
            depth = types.Image(header=header, height=60, width=80, encoding="16UC1", step=160)
            depth.data = rng.integers(900, 1500, 60 * 80, np.uint16).view(np.uint8)
            image = types.Image(header=header, height=60, width=80, encoding="rgb8", step=240)
            image.data = rng.integers(0, 256, 60 * 240, np.uint8)
            for topic, message in (("/camera_info", info), ("/depth", depth), ("/image", image)):
                writer.write(topic, stamp, message)
                sent.append((topic, types.serialize(message)))
    expected = process(source, tmp_path / "out", pipeline, types, {"/rmpsam/positions"})
    kinds = {"/camera_info": CameraInfo, "/depth": Image, "/image": Image}
    sent = [(topic, deserialize_message(bytes(data), kinds[topic])) for topic, data in sent]
    # Nothing is segmented, and no id is given, until every topic is heard at both ends.
    with make_program(
        "rmpsam_node", {**NETWORK, "score_threshold": 1.0, "use_depth": True}
    ) as node:
        node.wait_for_log("active: waiting for")
        received = listener.subscribe(TrackPositionArray, "/rmpsam/positions")
        publishers = {name: listener.publisher(kind, name) for name, kind in kinds.items()}
        until_heard(publishers, sent[:3], received, wait_for)
        assert not set_parameter("score_threshold", NETWORK["score_threshold"])
        received.clear()
        for topic, message in sent:
            publishers[topic].publish(message)
            if topic == "/image":
                stamp = message.header.stamp
                wait_for(
                    lambda at=stamp: any(one.header.stamp == at for one in received),
                    "the positions of an image",
                )
        assert node.end(signal.SIGINT) == 0
    assert as_recorded(received, types) == expected["/rmpsam/positions"]
    assert any(message.positions for message in received)


def until_heard(publishers, messages, received, wait_for):
    """Publish messages, as of a minute before, until positions come."""

    def heard():
        nanosec = time.monotonic_ns() % SECOND
        for topic, message in messages:
            early = copy.deepcopy(message)
            early.header.stamp.sec -= 60
            early.header.stamp.nanosec = nanosec
            publishers[topic].publish(early)
        time.sleep(0.2)
        return received

    wait_for(heard, "positions")
    time.sleep(0.5)  # what else was sent until then


def test_types_have_the_hashes_that_ros_2_gives_them(types):
    share = Path(get_package_share_directory(PACKAGE)) / "msg"
    if not (share / "Label.json").exists():
        pytest.skip("this distribution of ROS 2 has no hashes of types")
    assert own_definitions()
    for name in own_definitions():
        described = json.loads((share / f"{name.rpartition('/')[2]}.json").read_text())
        hashes = {one["type_name"]: one["hash_string"] for one in described["type_hashes"]}
        assert types.store.hash_rihs01(name) == hashes[name]


def test_constants_are_no_fields(types):
    assert set(vars(types.PromptedMask())) == {
        field for field, _ in types.store.fielddefs[f"{PACKAGE}/msg/PromptedMask"][1]
    }
