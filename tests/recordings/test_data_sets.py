"""Labelled data sets from recordings, read by what trains on them."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import yaml

from rmpsam_ros.data.base import DatasetConfig
from rmpsam_ros.data.registry import open_dataset
from rmpsam_ros.data.taxonomy import ClassMapping
from rmpsam_ros.recordings.data_sets import TRAINING_FORMATS, FrameChoice
from rmpsam_ros.segmentation.labels import load_label_set
from rmpsam_ros.segmentation.run_length import RunLengthMask, decode_id_map, decode_mask
from rmpsam_ros.tracking import TrackState

from .conftest import HEIGHT, SECOND, START, WIDTH, scene


@pytest.fixture
def exported(camera_bag, tmp_path, process):
    """Export a recording; the folder, and the data set as training opens it."""

    def run(format_name, source=camera_bag, **options):
        folder = tmp_path / format_name
        process(source, folder, export=format_name, **options)
        (entry,) = yaml.safe_load((folder / "dataset.yaml").read_text())["datasets"]
        assert entry["format"] == TRAINING_FORMATS[format_name]
        labels = load_label_set(folder / "labels.yaml")
        mapping = ClassMapping(labels, {one.name: one.name for one in labels.labels})
        config = DatasetConfig(
            name=entry["name"],
            format=entry["format"],
            images=folder / entry["images"],
            annotations=folder / entry["annotations"],
            mapping=mapping,
            minimum_area=1,
        )
        return folder, open_dataset(config)

    return run


def mask_of(message):
    box = message.box
    edges = (box.x_offset, box.y_offset, box.x_offset + box.width, box.y_offset + box.height)
    return decode_mask(RunLengthMask(message.height, message.width, edges, message.counts))


def test_coco_holds_the_things_of_every_frame(exported, camera_result, read):
    folder, data_set = exported("coco")
    found = read(camera_result)
    tracks, panoptic = found["/rmpsam/tracks"], found["/rmpsam/panoptic"]
    assert len(data_set) == len(tracks) == 8
    for k, ((_, message), (_, segments)) in enumerate(zip(tracks, panoptic, strict=True)):
        sample = data_set.load(k)
        # A track keeps to the class it was mostly seen as; a label says what this frame shows.
        classes = {one.id: one.class_id for one in segments.segments}
        seen = {one.segment_id: one for one in message.tracks if one.segment_id}
        expected = [(classes[key], mask_of(one.mask)) for key, one in seen.items()]
        assert sample.image.shape == (HEIGHT, WIDTH, 3)
        assert len(sample.masks) == len(expected)
        for class_id, mask in expected:
            assert any(
                found == class_id and np.array_equal(one, mask)
                for found, one in zip(sample.classes, sample.masks, strict=True)
            )
    content = json.loads((folder / "annotations.json").read_text())
    assert content["images"][3]["stamp"] == "1700000000.300000000"
    for one in content["annotations"]:
        assert one["bbox"][2] > 0
        assert one["track_id"] > 0


def test_coco_is_what_its_own_tools_read(exported):
    coco = pytest.importorskip("pycocotools.coco", reason="needs pycocotools")
    folder, _ = exported("coco")
    opened = coco.COCO(str(folder / "annotations.json"))
    assert len(opened.getImgIds()) == 8
    for one in opened.loadAnns(opened.getAnnIds()):
        assert opened.annToMask(one).sum() == one["area"]


def test_coco_panoptic_holds_every_segment(exported, camera_result, read):
    _, data_set = exported("coco_panoptic")
    for k, (_, message) in enumerate(read(camera_result)["/rmpsam/panoptic"]):
        sample = data_set.load(k)
        ids = decode_id_map(message.run_ids, message.run_lengths, HEIGHT, WIDTH)
        assert len(sample.masks) == len(message.segments)
        np.testing.assert_array_equal(sample.ignore, ids == 0)
        for segment in message.segments:
            assert any(np.array_equal(one, ids == segment.id) for one in sample.masks)


def test_youtube_vis_holds_every_confirmed_track(exported, camera_bag, tmp_path, process, read):
    folder, data_set = exported("youtube_vis")
    # Right beside: which of the random network's objects is which is decided by the last bits.
    process(camera_bag, tmp_path / "result")
    tracks = [message.tracks for _, message in read(tmp_path / "result")["/rmpsam/tracks"]]
    confirmed = {one.id for frame in tracks for one in frame if one.state == 2}
    content = json.loads((folder / "annotations.json").read_text())
    order = [one["track_id"] for one in content["annotations"]]
    assert set(order) == confirmed
    assert len(data_set) == 1
    clip = data_set.load_clip(0, 2, np.random.default_rng(0))
    assert len(clip[0].masks) == len(clip[1].masks) == len(confirmed)
    for k, frame in enumerate(tracks):
        sample = data_set.load_frame(0, k)
        seen = {one.id: mask_of(one.mask) for one in frame if one.segment_id}
        for track_id, mask in zip(order, sample.masks, strict=True):
            np.testing.assert_array_equal(mask, seen.get(track_id, np.zeros_like(mask)))


def test_every_nth_frame_of_every_camera_with_the_recorded_bytes(exported, write_bag, tmp_path):
    def fill(bag):
        for k in range(5):
            bag.compressed("/a/image/compressed", START + k * SECOND, scene(k))
            bag.image("/b/image", START + k * SECOND + 1, scene(k))

    folder, data_set = exported("coco", write_bag(tmp_path / "two", fill), every=2)
    names = sorted(path.name for path in (folder / "images").iterdir())
    assert names == [f"{camera}_{k:06d}.jpg" for camera in "ab" for k in range(3)]
    assert len(data_set) == 6
    expected = cv2.imencode(".jpg", scene(2)[..., ::-1])[1].tobytes()
    assert (folder / "images" / "a_000001.jpg").read_bytes() == expected


def test_images_of_another_size_begin_another_video(exported, write_bag, tmp_path):
    def fill(bag):
        for k in range(4):
            size = (HEIGHT, WIDTH) if k < 2 else (40, 64)
            bag.image("/image", START + k * SECOND, scene(k, *size))

    folder, _ = exported("youtube_vis", write_bag(tmp_path / "bag", fill))
    videos = json.loads((folder / "annotations.json").read_text())["videos"]
    assert [(one["height"], one["length"]) for one in videos] == [(HEIGHT, 2), (40, 2)]


@pytest.mark.parametrize(
    ("every", "on_change", "expected"),
    [(1, False, [0, 1, 2, 3, 4, 5]), (2, False, [0, 2, 4]), (1, True, [0, 2, 4, 5]),
     (2, True, [0, 2, 4])],
)  # fmt: skip
def test_choice_of_frames(every, on_change, expected):
    shown = [[], [], [(1, 3)], [(1, 3)], [(1, 4)], [(1, 4), (2, 4)]]
    choice = FrameChoice(every, on_change)
    taken = []
    for k, tracks in enumerate(shown):
        found = [SimpleNamespace(id=a, class_id=b, state=TrackState.CONFIRMED) for a, b in tracks]
        found.append(SimpleNamespace(id=10 + k, class_id=0, state=TrackState.TENTATIVE))
        frame = SimpleNamespace(
            camera=SimpleNamespace(name=""), result=SimpleNamespace(tracks=found)
        )
        if choice.takes(frame):
            taken.append(k)
    assert taken == expected


def test_two_exports_give_equal_bytes(camera_bag, tmp_path, process):
    for name in ("a", "b"):
        process(camera_bag, tmp_path / name, export="coco_panoptic", contact_sheet=True)
    first, second = (
        {path.relative_to(tmp_path / name): path.read_bytes()
         for path in (tmp_path / name).rglob("*") if path.is_file()}
        for name in ("a", "b")
    )  # fmt: skip
    assert first == second
    assert len(first) == 8 + 8 + 5
