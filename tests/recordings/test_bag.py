"""A recording in, a recording with results out."""

import json
from dataclasses import replace

import numpy as np
import pytest

from rmpsam_ros.recordings.bag import BagOptions, process_bag
from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.result_topics import RESULTS
from rmpsam_ros.segmentation.panoptic import FusionConfig
from rmpsam_ros.segmentation.run_length import decode_id_map

from .conftest import HEIGHT, SECOND, START, WIDTH, scene


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_every_frame_gives_every_result_with_the_header_of_its_image(camera_result, read):
    found = read(camera_result)
    stamps = [START + k * SECOND // 10 for k in range(8)]
    for topic in ("panoptic", "tracks", "panoptic/semantic", "panoptic/instance", "overlay"):
        messages = found[f"/rmpsam/{topic}"]
        assert [time for time, _ in messages] == stamps
        for (_, message), stamp in zip(messages, stamps, strict=True):
            header = message.header
            assert (header.stamp.sec, header.stamp.nanosec) == divmod(stamp, SECOND)
            assert header.frame_id == "camera"
    for _, message in found["/rmpsam/panoptic"]:
        ids = decode_id_map(message.run_ids, message.run_lengths, HEIGHT, WIDTH)
        assert {one.id for one in message.segments} == set(np.unique(ids)) - {0}
    assert any(message.segments for _, message in found["/rmpsam/panoptic"])
    assert any(message.tracks for _, message in found["/rmpsam/tracks"])
    assert len(found["/rmpsam/label_info"]) == 1
    assert len(found["/rmpsam/label_info"][0][1].labels) == 133
    assert "/rmpsam/prompted_masks" not in found


def test_transforms_and_calibration_are_copied_as_they_are(camera_bag, camera_result, read):
    before, after = read(camera_bag), read(camera_result)
    for topic in ("/tf", "/tf_static", "/front/camera_info"):
        assert repr(after[topic]) == repr(before[topic])
    assert "/front/image_raw" not in after


@pytest.mark.parametrize("pattern", ["/front/image_raw", "/front/*", "*"])
def test_other_topics_are_copied_where_wanted(camera_bag, tmp_path, process, read, pattern):
    process(camera_bag, tmp_path / "out", copied=(pattern,))
    assert len(read(tmp_path / "out")["/front/image_raw"]) == 8


def test_two_runs_give_equal_bytes(camera_bag, camera_result, tmp_path, process):
    process(camera_bag, tmp_path / "out", results=RESULTS, contact_sheet=True)
    first = content(camera_result)
    assert set(first) == {"out.mcap", "metadata.yaml", "rmpsam.json", "contact_sheet.jpg"}
    assert content(tmp_path / "out") == first


def test_sqlite3_holds_the_same_and_gives_equal_bytes_too(
    camera_bag, camera_result, tmp_path, process, read
):
    for name in ("a", "b"):
        process(camera_bag, tmp_path / name / "out", results=RESULTS, storage="sqlite3")
    assert content(tmp_path / "a" / "out") == content(tmp_path / "b" / "out")
    assert repr(read(tmp_path / "a" / "out")) == repr(read(camera_result))


def test_the_results_are_those_of_the_pipeline_alone(camera_result, read, shared_pipeline):
    found = read(camera_result)
    alone = shared_pipeline.for_another_camera()
    alone.fusion = FusionConfig(0.05, 0.0)
    for k, (_, message) in enumerate(found["/rmpsam/panoptic"]):
        stamp = (START + k * SECOND // 10) * 1e-9
        result = alone.process(scene(k), stamp)
        np.testing.assert_array_equal(message.run_ids, result.run_ids)
        np.testing.assert_array_equal(message.run_lengths, result.run_lengths)
        assert [one.class_id for one in message.segments] == [
            one.class_id for one in result.panoptic.segments
        ]
        assert [one.track_id for one in message.segments] == [
            result.track_ids.get(one.id, 0) for one in result.panoptic.segments
        ]
    alone.close()


def test_tracks_keep_their_ids_over_frames(camera_result, read):
    confirmed = {
        track.id
        for _, message in read(camera_result)["/rmpsam/tracks"]
        for track in message.tracks
        if track.state == 2
    }
    report = json.loads((camera_result / "rmpsam.json").read_text())
    assert 0 < len(confirmed) == report["cameras"][""]["tracks"]


def test_only_the_wanted_results_are_written(camera_bag, tmp_path, process, read):
    process(camera_bag, tmp_path / "out", results=("semantic",))
    topics = {topic for topic in read(tmp_path / "out") if topic.startswith("/rmpsam")}
    assert topics == {"/rmpsam/panoptic/semantic", "/rmpsam/label_info"}


def test_several_cameras_have_results_of_their_own(write_bag, tmp_path, process, read):
    def fill(bag):
        for k in range(4):
            stamp = START + k * SECOND // 10
            bag.image("/left/image_raw", stamp, scene(k))
            bag.compressed("/right/image_raw/compressed", stamp + 1000, scene(k + 5))

    source = write_bag(tmp_path / "two", fill)
    report = process(source, tmp_path / "out")
    assert report.frames == 8
    found = read(tmp_path / "out")
    assert [time for time, _ in found["/rmpsam/left/tracks"]] == [
        START + k * SECOND // 10 for k in range(4)
    ]
    assert len(found["/rmpsam/right/panoptic"]) == 4


def test_images_recorded_out_of_order_are_processed_in_the_order_of_their_stamps(
    write_bag, tmp_path, process, read
):
    order = [0, 2, 1, 3, 5, 6, 4, 7]

    def fill(bag):
        for place, k in enumerate(order):
            stamp = START + k * SECOND // 10
            bag.image("/image", stamp, scene(k), time=START + place * SECOND // 10)

    source = write_bag(tmp_path / "shuffled", fill)
    process(source, tmp_path / "out")
    messages = [message for _, message in read(tmp_path / "out")["/rmpsam/tracks"]]
    # As read, in the order of the recording; as processed, by stamp: hits never fall.
    by_stamp = sorted(messages, key=lambda one: (one.header.stamp.sec, one.header.stamp.nanosec))
    hits = {}
    for message in by_stamp:
        for track in message.tracks:
            assert track.hits >= hits.get(track.id, 0)
            hits[track.id] = track.hits
    assert max(hits.values()) > 3


def test_stamps_that_go_back_begin_new_tracks(write_bag, tmp_path, process, read):
    def fill(bag):
        for run in range(2):
            for k in range(5):
                time = START + (5 * run + k) * SECOND // 10
                bag.image("/image", START + k * SECOND // 10, scene(k), time=time)

    source = write_bag(tmp_path / "looped", fill)
    report = process(source, tmp_path / "out")
    assert report.frames == 10
    # 0.4 s back is less than backward_jump.
    assert report.content["cameras"][""]["resets"] == 0

    def fill_far(bag):
        for run in range(2):
            for k in range(5):
                time = START + (5 * run + k) * SECOND
                bag.image("/image", START + k * SECOND, scene(k), time=time)

    source = write_bag(tmp_path / "looped_far", fill_far)
    report = process(source, tmp_path / "far")
    assert report.content["cameras"][""]["resets"] == 1
    found = read(tmp_path / "far")["/rmpsam/tracks"]
    first = {track.id for _, message in found[:5] for track in message.tracks}
    second = {track.id for _, message in found[5:] for track in message.tracks}
    assert first
    assert second
    assert not first & second


def test_images_without_a_stamp_take_the_time_of_the_recording(write_bag, tmp_path, process, read):
    def fill(bag):
        for k in range(6):
            bag.image("/image", 0, scene(k), time=START + k * SECOND // 10)

    process(write_bag(tmp_path / "unstamped", fill), tmp_path / "out")
    found = read(tmp_path / "out")["/rmpsam/tracks"]
    assert len(found) == 6
    assert all(message.header.stamp.sec == 0 for _, message in found)
    assert max(track.hits for _, message in found for track in message.tracks) > 3


def test_the_report_says_what_the_result_is_of(camera_result):
    report = json.loads((camera_result / "rmpsam.json").read_text())
    assert report["source"] == "camera"
    assert "rmpsam_r18" in report["engine"]
    assert report["cameras"][""]["frames"] == 8
    assert report["options"]["values"]["score_threshold"] == 0.05


def test_a_class_that_does_not_exist_is_refused(camera_bag, tmp_path, shared_pipeline, values):
    options = BagOptions({**values, "classes": "unicorn"})
    with pytest.raises(RecordingError, match="unicorn"):
        process_bag(camera_bag, tmp_path / "out", shared_pipeline, options)
    assert list(tmp_path.iterdir()) == []


def test_live_parameters_count(camera_bag, tmp_path, shared_pipeline, values, read):
    options = BagOptions({**values, "score_threshold": 1.0})
    process_bag(camera_bag, tmp_path / "out", shared_pipeline, options)
    assert not any(one.segments for _, one in read(tmp_path / "out")["/rmpsam/panoptic"])
    process_bag(camera_bag, tmp_path / "usual", shared_pipeline, replace(options, values=values))
    assert any(one.segments for _, one in read(tmp_path / "usual")["/rmpsam/panoptic"])
