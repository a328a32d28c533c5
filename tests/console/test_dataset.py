"""Collected frames come out as the training reads them."""

import zipfile

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from sensor_msgs.msg import Image

from rmpsam_ros.console.dataset import Dataset, DatasetError
from rmpsam_ros.msg import PromptedMask


def image(stamp, height=40, width=60):
    pixels = np.full((height, width, 3), stamp % 200, np.uint8)
    message = Image(height=height, width=width, encoding="bgr8", step=3 * width)
    message.data = pixels.tobytes()
    return message


def mask(object_id, box, height=40, width=60):
    """A full rectangle (x, y, width, height)."""
    message = PromptedMask(object_id=object_id, state=1)
    message.mask.height, message.mask.width = height, width
    message.mask.box.x_offset, message.mask.box.y_offset = box[0], box[1]
    message.mask.box.width, message.mask.box.height = box[2], box[3]
    message.mask.counts = [0, box[2] * box[3]]
    return message


@pytest.fixture
def dataset():
    dataset = Dataset(10_000_000)
    yield dataset
    dataset.close()


def unpacked(dataset, folder, labels=("person", "car")):
    """The data sets of the packed configuration, opened as `rmpsam train` opens them."""
    config = pytest.importorskip("rmpsam_ros.training.config", reason="needs what trains")
    with zipfile.ZipFile(dataset.pack(labels)) as file:
        file.extractall(folder)
    loaded = config.load_config(folder / "dataset" / "datasets.yaml", folder)
    return [source.data for source in loaded.open_sources()]


def test_frames_and_masks_are_read_back(dataset, tmp_path):
    names = {"1": "person"}
    assert (
        dataset.add(10, image(10), [mask("1", (5, 6, 7, 8)), mask("2", (30, 20, 9, 9))], names)
        == 2
    )
    assert dataset.add(20, image(20), [mask("1", (0, 0, 60, 40))], names) == 1
    (samples,) = unpacked(dataset, tmp_path)
    assert len(samples) == 2
    first = samples.load(0)
    assert first.image.shape == (40, 60, 3) and abs(int(first.image[0, 0, 0]) - 10) < 4
    areas = sorted(int(one.sum()) for one in first.masks)
    assert areas == [56, 81]
    assert first.masks[np.argmin(first.masks.sum((1, 2)))][6:14, 5:12].all()


def test_recordings_are_videos_too(dataset, tmp_path):
    dataset.begin_video()
    for stamp in (10, 20, 30):
        masks = [mask("1", (stamp // 10, 0, 8, 8))]
        if stamp == 20:
            masks.append(mask("2", (30, 30, 6, 6)))
        dataset.record(stamp, image(stamp), masks, {"1": "person", "2": "car"})
    dataset.begin_video()
    dataset.record(40, image(40), [mask("1", (0, 0, 9, 9))], {})
    assert dataset.summary() | {"bytes": 0} == {
        "frames": 4, "objects": 5, "videos": 2, "bytes": 0, "problem": "",
    }  # fmt: skip
    instances, clips = unpacked(dataset, tmp_path)
    assert len(instances) == 4
    assert len(clips) == 2
    frames = [clips.load_frame(0, number) for number in range(3)]
    areas = [[int(one.sum()) for one in frame.masks] for frame in frames]
    assert areas == [[64, 0], [64, 36], [64, 0]]


def test_a_frame_added_again_is_corrected(dataset, tmp_path):
    dataset.add(10, image(10), [mask("1", (0, 0, 5, 5))], {})
    before = dataset.summary()["bytes"]
    dataset.add(10, image(10), [mask("1", (0, 0, 9, 9))], {})
    assert dataset.summary()["frames"] == 1 and dataset.summary()["bytes"] == before
    (samples,) = unpacked(dataset, tmp_path)
    assert samples.load(0).masks.sum() == 81


def test_names_that_are_no_classes_train_some_thing(dataset, tmp_path):
    masks = [mask(name, (0, 10 * row, 5, 5)) for row, name in enumerate("abc")]
    names = {"a": "person", "b": "the blue one"}
    dataset.add(10, image(10), masks, names)
    unpacked(dataset, tmp_path)
    text = (tmp_path / "dataset" / "datasets.yaml").read_text()
    classes = yaml.safe_load(text)["datasets"][0]["classes"]
    assert classes == {"object": "unnamed", "person": "person", "the blue one": "unnamed"}


def test_frames_without_masks_are_refused(dataset):
    with pytest.raises(DatasetError, match="no object is marked"):
        dataset.add(10, image(10), [PromptedMask(object_id="1")], {})
    with pytest.raises(DatasetError, match="no frame"):
        dataset.pack(())


def test_a_mask_of_another_size_is_refused(dataset):
    with pytest.raises(DatasetError, match="another size"):
        dataset.add(10, image(10), [mask("1", (0, 0, 5, 5), height=20)], {})


def test_room_is_bounded_and_said(tmp_path):
    dataset = Dataset(2000)
    dataset.begin_video()
    rng = np.random.default_rng(0)
    for stamp in range(1, 20):
        message = image(stamp)
        message.data = rng.integers(0, 255, 40 * 60 * 3, np.uint8).tobytes()
        dataset.record(stamp, message, [mask("1", (0, 0, 5, 5))], {})
    assert dataset.summary()["bytes"] <= 2000
    assert "dataset_megabytes" in dataset.summary()["problem"]
    dataset.clear()
    assert dataset.summary() | {"videos": 0} == {
        "frames": 0, "objects": 0, "videos": 0, "bytes": 0, "problem": "",
    }  # fmt: skip
    dataset.close()


def test_images_lie_beside_their_annotations(dataset, tmp_path):
    dataset.add(10, image(10), [mask("1", (0, 0, 5, 5))], {})
    unpacked(dataset, tmp_path)
    (path,) = (tmp_path / "dataset" / "images").iterdir()
    assert cv2.imread(str(path)).shape == (40, 60, 3)
