"""The life cycle of the node in this process with a fake pipeline, and loading that fails."""

import threading
import time

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image

from rmpsam_ros.msg import InstanceTrackArray
from rmpsam_ros.node import rmpsam_node
from rmpsam_ros.node.parameters.parameter import ParameterError
from rmpsam_ros.pipeline import PipelineError


def test_starts_by_itself_and_answers_meanwhile(
    make_node, fake_pipeline, get_state, wait_for, wait_for_status
):
    go_on = threading.Event()

    def slow(values, progress):
        progress("building the network")
        assert go_on.wait(60.0)
        return fake_pipeline

    make_node(slow)
    wait_for(lambda: get_state() == "configuring", "a state while loading")
    wait_for_status("network", {0}, "building the network")
    go_on.set()
    wait_for(lambda: get_state() == "active", "the active state")


def test_stopping_ends_a_long_build(make_node, fake_pipeline, wait_for_status):
    ended = threading.Event()

    def build(values, progress):
        try:
            for percent in range(100_000):
                progress(f"building the engine, step {percent}")
                time.sleep(0.05)
        finally:
            ended.set()
        return fake_pipeline

    node = make_node(build)
    wait_for_status("network", {0}, "building the engine")
    assert node.stop(30.0)
    assert ended.is_set()


def inference_threads():
    return [one for one in threading.enumerate() if one.name == "inference"]


def test_a_stop_just_when_loading_begins_leaves_no_thread(
    make_node, fake_pipeline, wait_for, monkeypatch
):
    """Whatever comes first, `stop` sees the thread, or the thread is not made."""
    go_on = threading.Event()

    def load(values, progress):
        assert go_on.wait(60.0)
        return fake_pipeline

    node = make_node(load, autostart=False)
    stopped, stopping = [], threading.Thread(target=lambda: stopped.append(node.stop(60.0)))
    make_thread = rmpsam_node.InferenceThread

    def make_during_stop(*arguments):
        stopping.start()
        time.sleep(0.2)
        threading.Timer(0.5, go_on.set).start()
        return make_thread(*arguments)

    monkeypatch.setattr(rmpsam_node, "InferenceThread", make_during_stop)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    stopping.join(60.0)
    assert stopped == [True]
    wait_for(lambda: not inference_threads(), "the end of the network's thread")
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE, "after the end"
    assert not inference_threads()


def test_every_transition(
    make_node,
    fake_pipeline,
    listener,
    change_state,
    get_state,
    make_image,
    wait_for,
    wait_for_status,
):
    make_node(autostart=False)
    tracks = listener.subscribe(InstanceTrackArray, "/rmpsam/tracks")
    images = listener.publisher(Image, "/image")
    assert get_state() == "unconfigured"
    assert not change_state("activate"), "not configured yet"
    assert change_state("configure")
    assert get_state() == "inactive"
    images.publish(make_image(1.0))
    assert change_state("activate")
    assert get_state() == "active"
    wait_for(lambda: images.publish(make_image(2.0)) or tracks, "tracks")
    assert change_state("deactivate")
    assert get_state() == "inactive"
    processed = len(fake_pipeline.stamps)
    images.publish(make_image(3.0))
    assert change_state("activate")
    wait_for(lambda: images.publish(make_image(4.0)) or fake_pipeline.stamps[processed:], "frame")
    assert 1.0 not in fake_pipeline.stamps, "processed while inactive"
    assert 3.0 not in fake_pipeline.stamps, "processed while inactive"
    assert change_state("deactivate")
    assert not fake_pipeline.closed
    assert change_state("cleanup")
    assert get_state() == "unconfigured"
    assert fake_pipeline.closed
    assert change_state("configure"), "once more"
    assert change_state("activate")
    wait_for_status("network", {0}, "fake (fake weights) on fake 1")
    assert change_state("shutdown")
    assert get_state() == "finalized"


@pytest.mark.parametrize("transitions", [(), ("configure",), ("configure", "activate")])
def test_shutdown_from_every_state(
    make_node, fake_pipeline, change_state, get_state, wait_for_status, transitions
):
    make_node(autostart=False)
    for label in transitions:
        assert change_state(label)
    assert change_state("shutdown")
    assert get_state() == "finalized"
    assert fake_pipeline.closed == bool(transitions)
    assert not inference_threads()
    wait_for_status("network", {0}, "shut down")
    assert not change_state("configure"), "the end"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PipelineError("weights 'a.pth' is not a file"), "weights 'a.pth' is not a file"),
        (ParameterError("classes names 'dgo'"), "classes names 'dgo'"),
        (KeyError("broken"), "KeyError: 'broken'"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_a_network_that_cannot_be_loaded_is_reported_and_can_be_tried_again(
    make_node, fake_pipeline, change_state, get_state, wait_for_status, error, reason
):
    outcomes = [error]

    def factory(values, progress):
        if outcomes:
            raise outcomes.pop()
        return fake_pipeline

    make_node(factory)
    wait_for_status("network", {2}, reason)
    assert get_state() == "unconfigured"
    assert change_state("configure")
    assert change_state("activate")
    wait_for_status("network", {0})


def test_a_transition_that_raises_is_reported_and_can_be_tried_again(
    make_node, change_state, get_state, wait_for_status, monkeypatch
):
    node = make_node(autostart=False)

    def fail(*_):
        raise KeyError("label")

    monkeypatch.setattr(node._labels, "publish", fail)
    assert not change_state("configure")
    wait_for_status("network", {2}, "on_configure failed: KeyError: 'label'")
    assert get_state() == "unconfigured"
    assert node._thread is None
    monkeypatch.undo()
    assert change_state("configure")
    assert get_state() == "inactive"


def test_a_network_that_does_not_stop_is_left_behind(
    make_node,
    make_pipeline,
    feed,
    make_image,
    change_state,
    get_state,
    wait_for,
    wait_for_status,
    monkeypatch,
):
    """Another one is loaded beside it; what it gives when it goes on at last is not published."""
    first, second = make_pipeline(), make_pipeline()
    pipelines = iter((first, second))
    node = make_node(lambda settings, progress: next(pipelines))
    wait_for(lambda: get_state() == "active", "the active state")
    monkeypatch.setattr(rmpsam_node.RmpsamNode._release, "__defaults__", (0.2,))
    first.gate.clear()
    feed(node, make_image())
    assert first.entered.acquire(timeout=60.0)
    assert change_state("deactivate") and change_state("cleanup")
    assert get_state() == "unconfigured" and not first.closed
    wait_for_status("network", {1}, "does not stop and is left behind")
    monkeypatch.undo()
    assert change_state("configure") and change_state("activate")
    feed(node, make_image(7.0))
    wait_for(lambda: node.cameras[0].statistics.processed == 1, "an image of the new network")
    first.gate.set()
    wait_for(lambda: first.closed and len(inference_threads()) == 1, "the end of the old one")
    assert (first.stamps, second.stamps) == ([], [7.0])
    assert node.cameras[0].statistics.processed == 1


def test_random_and_real_weights_follow_each_other(
    make_node, fake_pipeline, change_state, get_state, wait_for, wait_for_status
):
    """Every transition again and again, with two networks whose log lines differ in severity."""
    from dataclasses import replace

    real = fake_pipeline.engine_info
    random = replace(real, weights="random weights")
    make_node(autostart=False)
    for info, level in ((random, 1), (real, 0), (random, 1), (real, 0)):
        fake_pipeline.engine_info, fake_pipeline.closed = info, False
        assert change_state("configure") and change_state("activate")
        wait_for_status("network", {level}, info.weights)
        assert change_state("deactivate") and change_state("cleanup")
        assert get_state() == "unconfigured"
    assert change_state("shutdown")
    assert get_state() == "finalized"


def test_random_weights_are_a_warning(make_node, fake_pipeline, wait_for_status):
    from dataclasses import replace

    fake_pipeline.engine_info = replace(fake_pipeline.engine_info, weights="random weights")
    make_node()
    wait_for_status("network", {1}, "random weights")
