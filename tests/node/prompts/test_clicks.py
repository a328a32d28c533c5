"""Clicks on topics in this process: what they start and refine, and what is wrong with them."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.srv", reason="needs the built package (make build)")

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, PointStamped
from std_msgs.msg import Header

NAN = float("nan")
CLICKS = {
    "/rmpsam/click": lambda x, y: PointStamped(point=Point(x=x, y=y)),
    "/image_mouse_left": lambda x, y: Point(x=x, y=y),
    "/rmpsam/overlay_mouse_left": lambda x, y: Point(x=x, y=y),
}


@pytest.mark.parametrize("topic", CLICKS)
def test_a_click_follows_an_object_and_a_click_on_it_refines_it(camera, listener, wait_for, topic):
    make = CLICKS[topic]
    clicks = listener.publisher(type(make(0.0, 0.0)), topic)
    objects = camera.node._pipelines[0].prompts.objects
    clicks.publish(make(5.0, 3.0))
    wait_for(objects, "an object")
    clicks.publish(make(6.0, 4.0))
    wait_for(lambda: len(objects()[0].prompt.points) == 2, "the second click")
    (known,) = objects()
    np.testing.assert_array_equal(known.prompt.points, [[5.0, 3.0], [6.0, 4.0]])
    assert known.state.name == "TRACKED"
    clicks.publish(make(50.0, 40.0))
    wait_for(lambda: len(objects()) == 2, "another object")


def test_a_click_is_answered_on_the_image_of_its_stamp(camera, listener, wait_for):
    clicks = listener.publisher(PointStamped, "/rmpsam/click")
    clicks.publish(PointStamped(header=Header(stamp=Time(sec=2)), point=Point(x=5.0, y=3.0)))
    wait_for(camera.node._pipelines[0].prompts.objects, "an object")
    assert camera.node._pipelines[0].prompts.objects()[0].prompt_stamp == 2.0


@pytest.mark.parametrize(
    ("x", "stamp", "words"),
    [
        (NAN, 0, "click at (nan, 3) refused: point (nan, 3) is outside"),
        (1e300, 0, "outside"),
        (-7.0, 0, "outside"),
        (5.0, 77, "77.000000 s is not kept"),
    ],
)
def test_clicks_that_cannot_be_answered_are_on_diagnostics(
    camera, listener, wait_for_status, x, stamp, words
):
    clicks = listener.publisher(PointStamped, "/rmpsam/click")
    clicks.publish(PointStamped(header=Header(stamp=Time(sec=stamp)), point=Point(x=x, y=3.0)))
    wait_for_status("prompts", {1}, words)
    assert camera.node._pipelines[0].prompts.objects() == ()
