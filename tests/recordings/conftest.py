"""Fixtures of recordings: bags with designed content, and a pipeline with a small network."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags", reason="needs rosbags (pip install rosbags mcap)")

HERE = Path(__file__).parent
HEIGHT, WIDTH = 60, 80
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
# Small, so that a frame takes milliseconds; low thresholds, and nothing tidied away, so that there
# are many segments whatever the weights are.
SMALL_NETWORK = (
    "weights:=random",
    "engine:=torch",
    "device:=cpu",
    "num_threads:=1",
    "long_side:=96",
    "short_side:=96",
    "score_threshold:=0.05",
    "overlap_threshold:=0.0",
    "any_thing:=false",
    "duplicate_iou:=0.0",
    "small_first:=0.0",
    "min_piece:=0.0",
    "min_area:=0.0",
    "max_speck:=0.0",
    "max_hole:=0.0",
    "prompt_engine:=rmpsam",
)


def load_helper(name):
    """A module beside this one, once."""
    qualified = f"recordings_{name}"
    if qualified not in sys.modules:
        spec = importlib.util.spec_from_file_location(qualified, HERE / f"{name}.py")
        sys.modules[qualified] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[qualified])
    return sys.modules[qualified]


@pytest.fixture(scope="module", autouse=True)
def _elsewhere(tmp_path_factory):
    """Run in another folder: programs started in the source tree would import that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        yield


@pytest.fixture(scope="session")
def types():
    from rmpsam_ros.recordings.message_types import RecordedTypes

    return RecordedTypes()


def scene(index, height=HEIGHT, width=WIDTH):
    """An image (H, W, 3) RGB with a bright square that moves to the right."""
    rng = np.random.default_rng(7)
    image = rng.integers(0, 90, (height, width, 3), np.uint8)
    left = 5 + 2 * (index % 20)
    image[15:40, left : left + 25] = (230, 180, 40)
    return image


class BagMaker:
    """Writes a bag message by message."""

    def __init__(self, writer, types):
        self.writer, self.types = writer, types

    def header(self, stamp, frame_id="camera"):
        time = self.types.Time(sec=stamp // SECOND, nanosec=stamp % SECOND)
        return self.types.Header(stamp=time, frame_id=frame_id)

    def image(self, topic, stamp, pixels, time=None, encoding="rgb8", frame_id="camera"):
        pixels = np.ascontiguousarray(pixels)
        message = self.types.Image(
            header=self.header(stamp, frame_id),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            step=pixels.strides[0],
            data=pixels.reshape(-1).view(np.uint8),
        )
        self.writer.write(topic, stamp if time is None else time, message)

    def compressed(self, topic, stamp, pixels, time=None, data=None):
        if data is None:
            data = cv2.imencode(".jpg", pixels[..., ::-1])[1].reshape(-1)
        message = self.types.CompressedImage(
            header=self.header(stamp), format="jpeg", data=np.asarray(data, np.uint8)
        )
        self.writer.write(topic, stamp if time is None else time, message)

    def info(self, topic, stamp, height=HEIGHT, width=WIDTH, focal=70.0):
        k = [focal, 0.0, (width - 1) / 2, 0.0, focal, (height - 1) / 2, 0.0, 0.0, 1.0]
        message = self.types.CameraInfo(
            header=self.header(stamp), height=height, width=width, k=np.array(k)
        )
        self.writer.write(topic, stamp, message)

    def transform(self, topic, stamp, child="camera"):
        TransformStamped = self.types.TransformStamped
        transform = TransformStamped(header=self.header(stamp, "base"), child_frame_id=child)
        message = self.types.store.types["tf2_msgs/msg/TFMessage"](transforms=[transform])
        self.writer.write(topic, stamp, message, latched=topic == "/tf_static")


@pytest.fixture(scope="session")
def write_bag(types):
    """Write a bag: a function that gets a `BagMaker`."""
    from rmpsam_ros.recordings.writing import BagWriter

    def write(path, fill, storage="mcap"):
        with BagWriter(path, storage, types) as writer:
            fill(BagMaker(writer, types))
        return path

    return write


@pytest.fixture(scope="session")
def camera_bag(write_bag, tmp_path_factory):
    """A camera with 8 raw images at 10 Hz, calibration, and transforms."""

    def fill(bag):
        bag.transform("/tf_static", START)
        for k in range(8):
            stamp = START + k * SECOND // 10
            bag.transform("/tf", stamp)
            bag.info("/front/camera_info", stamp)
            bag.image("/front/image_raw", stamp, scene(k))

    return write_bag(tmp_path_factory.mktemp("bags") / "camera", fill)


@pytest.fixture(scope="session")
def values():
    """The node's parameters for a small network."""
    from rmpsam_ros.recordings.settings import read_settings

    return read_settings(None, SMALL_NETWORK)[0]


@pytest.fixture(scope="session")
def shared_pipeline(values):
    """A pipeline with a real, small network of random weights."""
    from rmpsam_ros.pipeline import create_pipeline
    from rmpsam_ros.recordings.settings import config_of

    pipeline = create_pipeline(config_of(values, with_prompts=True))
    yield pipeline
    pipeline.close()


@pytest.fixture
def process(shared_pipeline, values):
    """Process a bag; keyword arguments are those of BagOptions."""
    from rmpsam_ros.recordings.bag import BagOptions, process_bag

    def run(source, target, overwrite=False, **options):
        return process_bag(
            source, target, shared_pipeline, BagOptions(values, **options), overwrite
        )

    return run


@pytest.fixture(scope="session")
def camera_result(camera_bag, shared_pipeline, values, tmp_path_factory):
    """All results of `camera_bag`."""
    from rmpsam_ros.recordings.bag import BagOptions, process_bag
    from rmpsam_ros.recordings.result_topics import RESULTS

    target = tmp_path_factory.mktemp("results") / "out"
    options = BagOptions(values, results=RESULTS, contact_sheet=True)
    process_bag(camera_bag, target, shared_pipeline, options)
    return target


@pytest.fixture(scope="session")
def read(types):
    """Read a bag: messages by topic, in order, each with its time."""
    from rmpsam_ros.recordings.reading import Recording

    def run(path):
        found = {}
        with Recording(path) as recording:
            assert not recording.damage
            for one in recording.messages({topic.name for topic in recording.topics}):
                message = types.deserialize(one.data, one.topic.type_name)
                found.setdefault(one.topic.name, []).append((one.time, message))
        return found

    return run
