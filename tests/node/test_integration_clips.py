"""Clips in the real node: one result for every image, with its own header."""

import signal
from itertools import count

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.srv", reason="needs the built package (make build)")

from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image

from rmpsam_ros.msg import InstanceTrackArray, Latency, PanopticSegmentation
from rmpsam_ros.node.results.messages import array_field

SMALL_NETWORK = {
    "weights": "random",
    "long_side": 96,
    "short_side": 96,
    "num_threads": 1,
    "score_threshold": 0.05,
    "overlap_threshold": 0.05,
}


def test_every_image_has_a_result_with_its_header(make_program, listener, wait_for):
    with make_program("rmpsam_node", {**SMALL_NETWORK, "clip_frames": 3}) as node:
        node.wait_for_log("objects are decoded from clips of 3 images")
        node.wait_for_log("active: waiting for Image on /image")
        images = listener.publisher(Image, "/image")
        latencies = listener.subscribe(Latency, "/rmpsam/latency")
        results = listener.subscribe(PanopticSegmentation, "/rmpsam/panoptic")
        tracks = listener.subscribe(InstanceTrackArray, "/rmpsam/tracks")
        rng, numbers = np.random.default_rng(0), count(1)
        for _ in range(5):
            image = Image(height=64, width=96, encoding="rgb8", step=3 * 96)
            image.header.frame_id = "camera"
            image.header.stamp = Time(nanosec=100_000_000 * next(numbers))
            image.data = array_field(rng.integers(0, 256, (64, 96, 3), np.uint8))

            def is_there(image=image):
                images.publish(image)
                return all(
                    any(one.header == image.header for one in received)
                    for received in (latencies, results, tracks)
                )

            wait_for(is_there, "the results of the image")
            result = next(one for one in results if one.header == image.header)
            seen = next(one for one in tracks if one.header == image.header)
            shown = {one.id for one in seen.tracks if one.segment_id}
            assert {one.track_id for one in result.segments if one.is_thing} == shown
        assert latencies[-1].frames_failed == 0
        assert node.end(signal.SIGINT) == 0
        assert "Traceback" not in node.log


def test_impossible_clips_are_refused_with_a_reason(make_program):
    with make_program("rmpsam_node", {**SMALL_NETWORK, "clip_frames": 17}) as node:
        node.wait_for_log("not started: parameter clip_frames")
