"""Fixtures of the tests of prompts: an active node fed image by image, calls of its services."""

import pytest


@pytest.fixture(params=[False, True], ids=["in the network's thread", "beside"])
def beside(request, fake_pipeline):
    fake_pipeline.prompt_engine.runs_beside = request.param
    return request.param


class Camera:
    """An active node, and images given to it one by one."""

    def __init__(self, node, feed, make_image, wait_for):
        self.node, self._feed, self._make, self._wait = node, feed, make_image, wait_for

    def frame(self, stamp, frame_id="hand"):
        statistics = self.node.cameras[0].statistics
        before = statistics.processed + statistics.failed
        self._feed(self.node, self._make(stamp, frame_id=frame_id))
        self._wait(lambda: statistics.processed + statistics.failed > before, "the frame")


@pytest.fixture
def start(make_node, feed, make_image, wait_for):
    def run(**parameters):
        node = make_node(**{"prompt_requests_rate": 1000.0, **parameters})
        wait_for(lambda: node.cameras[0].active, "the active state")
        return Camera(node, feed, make_image, wait_for)

    return run


@pytest.fixture
def camera(beside, start):
    """A node of either kind that has processed images of 1, 2 and 3 s and follows 3 objects."""
    camera = start(max_prompts=3)
    for stamp in (1.0, 2.0, 3.0):
        camera.frame(stamp, f"camera {stamp:g}")
    return camera


@pytest.fixture
def ask(listener):
    """Call a service of the node; without a type: add_prompt, with one click."""
    from rmpsam_ros.msg import PromptPoint
    from rmpsam_ros.srv import AddPrompt

    def call(kind=AddPrompt, **fields):
        name = "".join(f"_{c.lower()}" if c.isupper() else c for c in kind.__name__)[1:]
        if kind is AddPrompt:
            fields.setdefault("points", [PromptPoint(x=5.0, y=3.0, label=1)])
        return listener.call(kind, f"/rmpsam/{name}", kind.Request(**fields))

    return call
