"""Nothing that happens leaves a circle of references behind.

The garbage collector comes late to a node that makes few objects: after hundreds of frames for the
newest, and hardly ever for those that it has seen twice. An error, by the calls that it came
through, holds a kept image and the features of a network meanwhile.
"""

import contextlib
import gc
import time
from types import FrameType, TracebackType

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from rmpsam_ros.msg import PromptPoint
from rmpsam_ros.prompting import KeptFrame
from rmpsam_ros.runtime import EngineError
from rmpsam_ros.srv import AddPrompt, ClearPrompts, ListPrompts, RemovePrompt, SegmentEverything

TIMES = 4
KINDS = (FrameType, TracebackType, BaseException, Image, KeptFrame)


@contextlib.contextmanager
def garbage():
    """What only the garbage collector could find, of what was made meanwhile."""
    found = []
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        time.sleep(0.2)  # threads that were in it have gone on
        gc.collect()
        found += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


class Robot:
    """An active node, and what may happen to it."""

    def __init__(self, node, pipeline, listener, feed, make_image, wait_for, set_parameter):
        self._statistics = node.cameras[0].statistics
        self._node, self._pipeline, self._listener = node, pipeline, listener
        self._feed, self._make_image, self._wait_for = feed, make_image, wait_for
        self._set_parameter, self._stamp = set_parameter, 1.0

    def image(self, **changes):
        done = self._statistics.processed + self._statistics.failed
        self._stamp += 0.1
        image = self._make_image(self._stamp)
        for name, value in changes.items():
            setattr(image, name, value)
        self._feed(self._node, image)
        self._wait_for(
            lambda: self._statistics.processed + self._statistics.failed > done, "the image"
        )

    def time_goes_back(self):
        self._stamp -= 10.0
        self.image()

    def image_while(self, method, kind):
        """An image while a method of the pipeline raises."""

        def fail(*_):
            raise kind("of the test")

        setattr(self._pipeline, method, fail)
        self.image()
        delattr(self._pipeline, method)

    def engine_error(self):
        self._pipeline.error = EngineError("out of memory")
        self.image()
        self._pipeline.error = None

    def prompt_error(self):
        self._pipeline.prompt_engine.error = EngineError("out of memory")
        self.add(5.0)
        self._pipeline.prompt_engine.error = None

    def add(self, x, **more):
        points = [PromptPoint(x=x, y=5.0, label=1)]
        self.call(AddPrompt, "add_prompt", points=points, **more)

    def call(self, kind, name, **content):
        self._listener.call(kind, f"/rmpsam/{name}", kind.Request(**content))

    def parameter(self, name, value):
        self._set_parameter(name, value)


EVENTS = {
    "image": lambda robot: robot.image(),
    "unknown encoding": lambda robot: robot.image(encoding="nonsense"),
    "short image": lambda robot: robot.image(step=0),
    "time goes back": lambda robot: robot.time_goes_back(),
    "network cannot prepare": lambda robot: robot.image_while("begin", ValueError),
    "network fails": lambda robot: robot.engine_error(),
    "network is broken": lambda robot: robot.image_while("infer", KeyError),
    "results fail": lambda robot: robot.image_while("finish", KeyError),
    "overlay fails": lambda robot: robot.image_while("overlay", KeyError),
    "prompt": lambda robot: robot.add(5.0, object_id="a", track=True),
    "prompt outside": lambda robot: robot.add(1e9),
    "prompt on an unknown image": lambda robot: robot.add(5.0, stamp=Time(sec=7)),
    "prompt engine fails": lambda robot: robot.prompt_error(),
    "unknown object": lambda robot: robot.call(RemovePrompt, "remove_prompt", object_id="x"),
    "list": lambda robot: robot.call(ListPrompts, "list_prompts"),
    "clear": lambda robot: robot.call(ClearPrompts, "clear_prompts"),
    "everything": lambda robot: robot.call(SegmentEverything, "segment_everything"),
    "everything too fine": lambda robot: robot.call(
        SegmentEverything, "segment_everything", points_per_side=1000
    ),
    "reset": lambda robot: robot.call(Trigger, "reset_tracks"),
    "parameter": lambda robot: robot.parameter("score_threshold", 0.3),
    "parameter out of range": lambda robot: robot.parameter("score_threshold", -1.0),
    "unknown class": lambda robot: robot.parameter("classes", "nonsense"),
}


def test_nothing_that_happens_leaves_a_circle_behind(
    make_node, fake_pipeline, listener, feed, make_image, wait_for, get_state, set_parameter
):
    node = make_node()
    wait_for(lambda: get_state() == "active", "the active state")
    robot = Robot(node, fake_pipeline, listener, feed, make_image, wait_for, set_parameter)
    overlays = listener.subscribe(Image, "/rmpsam/overlay")
    wait_for(lambda: robot.image() or overlays, "an overlay")
    left = {}
    for name, happen in EVENTS.items():
        happen(robot)  # what is made once stays
        with garbage() as found:
            for _ in range(TIMES):
                happen(robot)
        kinds = sorted(type(one).__name__ for one in found if isinstance(one, KINDS))
        if len(kinds) >= TIMES:  # less is not of every time
            left[name] = kinds
    assert not left


def test_a_network_that_cannot_be_loaded_is_given_back(make_node, change_state):
    class Network:
        """Takes memory."""

    def load(values, progress):
        network = Network()
        raise EngineError(f"{network} does not fit")

    make_node(load, autostart=False)
    with garbage() as found:
        for _ in range(TIMES):
            assert not change_state("configure")
    assert not [one for one in found if isinstance(one, Network)]
