"""Several cameras in one node: topics and services of their own, one network, no disturbance."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from rmpsam_ros.msg import (
    InstanceTrackArray,
    LabelTable,
    Latency,
    PanopticSegmentation,
    PromptPoint,
)
from rmpsam_ros.node.parameters.parameter import ParameterError
from rmpsam_ros.node.topic_names import TopicNames, topic_names_of
from rmpsam_ros.srv import AddPrompt, ListPrompts

FRONT, REAR = 0, 1


@pytest.mark.parametrize(
    ("names", "scopes"),
    [
        ("", [""]),
        ("  ", [""]),
        ("front", ["front"]),
        ("front,rear", ["front", "rear"]),
        (" left_2 , Right ", ["left_2", "Right"]),
    ],
)
def test_names_of_cameras(names, scopes):
    assert [one.name for one in topic_names_of(names)] == scopes


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ("front,", "letters"),
        (",", "letters"),
        ("front,front", "once"),
        ("2nd", "begin with a letter"),
        ("a b", "'a b' is none"),
        ("/front", "letters"),
        ("front/left", "letters"),
        ("fr__ont", "single underscores"),
        ("front_", "single underscores"),
        ("größe", "letters"),
        (",".join(f"c{k}" for k in range(17)), "at most 16"),
    ],
)
def test_bad_names_of_cameras(names, reason):
    with pytest.raises(ParameterError, match=reason):
        topic_names_of(names)


def test_scopes_name_topics_and_texts():
    only, front = TopicNames(), TopicNames("front")
    assert (only.input("image"), front.input("image")) == ("image", "front/image")
    assert (only.private("tracks"), front.private("tracks")) == ("~/tracks", "~/front/tracks")
    assert (only.about("input"), front.about("input")) == ("input", "front input")


@pytest.fixture
def node(make_node, wait_for):
    node = make_node(cameras="front,rear", prompt_requests_rate=1000.0)
    wait_for(lambda: all(one.active for one in node.cameras), "the active state")
    return node


@pytest.fixture
def give(node, feed, make_image, wait_for):
    """Give an image to a camera and wait until it is processed or has failed."""

    def run(camera, stamp, **options):
        statistics = node.cameras[camera].statistics
        before = statistics.processed + statistics.failed
        feed(node, make_image(stamp, **options), camera)
        wait_for(lambda: statistics.processed + statistics.failed > before, "the frame")

    return run


def test_each_camera_has_its_inputs_and_results(node, listener, make_image, wait_for):
    kinds = {"panoptic": PanopticSegmentation, "tracks": InstanceTrackArray, "overlay": Image}
    kinds |= {"panoptic/semantic": Image, "latency": Latency}
    received = {
        (camera, topic): listener.subscribe(kind, f"/rmpsam/{camera}/{topic}")
        for camera in ("front", "rear")
        for topic, kind in kinds.items()
    }
    labels = listener.subscribe(LabelTable, "/rmpsam/label_info")
    inputs = {
        "front": (listener.publisher(Image, "/front/image"), make_image(3.0, frame_id="f")),
        "rear": (
            listener.publisher(Image, "/rear/image"),
            make_image(7.0, height=40, width=100, frame_id="r"),
        ),
    }

    def all_there():
        for publisher, image in inputs.values():
            publisher.publish(image)
        return all(received.values())

    wait_for(all_there, "all results of both cameras")
    for (camera, topic), messages in received.items():
        for message in messages:
            assert message.header == inputs[camera][1].header, (camera, topic)
            if hasattr(message, "height"):
                assert message.height == inputs[camera][1].height
    assert not labels  # latched
    names = {name for name, _ in listener.node.get_topic_names_and_types()}
    assert not {"/image", "/rmpsam/panoptic", "/rmpsam/tracks"} & names
    services = {name for name, _ in listener.node.get_service_names_and_types()}
    assert {"/rmpsam/front/add_prompt", "/rmpsam/rear/reset_tracks"} <= services


def test_prompts_belong_to_their_camera(node, give, listener):
    give(FRONT, 1.0, frame_id="f")
    give(REAR, 2.0, frame_id="r")

    def ask(camera, **fields):
        request = AddPrompt.Request(points=[PromptPoint(x=5.0, y=3.0, label=1)], **fields)
        return listener.call(AddPrompt, f"/rmpsam/{camera}/add_prompt", request)

    def known(camera):
        answer = listener.call(
            ListPrompts, f"/rmpsam/{camera}/list_prompts", ListPrompts.Request()
        )
        return [one.object_id for one in answer.masks]

    answer = ask("rear", object_id="mine", track=True)
    assert (answer.code, answer.header.frame_id) == (AddPrompt.Response.OK, "r")
    assert (known("front"), known("rear")) == ([], ["mine"])
    assert ask("front").header.frame_id == "f"


def test_tracks_end_only_for_the_camera_whose_time_jumps(node, give, fake_pipeline):
    rear = fake_pipeline.others[0]
    for stamp in (10.0, 11.0, 2.0):
        give(REAR, stamp)
        give(FRONT, 5.0 + stamp / 100)
    assert (fake_pipeline.resets, rear.resets) == (0, 1)
    assert fake_pipeline.stamps == pytest.approx([5.1, 5.11, 5.02])
    assert rear.stamps == pytest.approx([10.0, 11.0, 2.0])


def test_a_camera_that_sends_nonsense_does_not_disturb_the_other(
    node, give, fake_pipeline, wait_for_status
):
    for stamp in range(12):
        give(REAR, float(stamp), encoding="nonsense")
        give(FRONT, float(stamp))
    front, rear = node.cameras
    assert (front.statistics.processed, front.statistics.failed) == (12, 0)
    assert (rear.statistics.processed, rear.statistics.failed) == (0, 12)
    wait_for_status("rear processing", {2}, "every image fails: encoding 'nonsense'")
    wait_for_status("front processing", {0})


def test_a_network_that_fails_on_one_camera_serves_the_other(node, give, fake_pipeline):
    fake_pipeline.others[0].error = RuntimeError("too large for the device")
    for stamp in (1.0, 2.0):
        give(REAR, stamp)
        give(FRONT, stamp)
    assert node.cameras[FRONT].statistics.processed == 2
    assert node.cameras[REAR].statistics.failed == 2


def test_frames_that_wait_together_go_through_the_network_together(
    node, give, feed, make_image, wait_for, fake_pipeline
):
    for pipeline in (fake_pipeline, *fake_pipeline.others):
        pipeline.together = True
    fake_pipeline.gate.clear()
    feed(node, make_image(1.0), FRONT)
    assert fake_pipeline.entered.acquire(timeout=60.0)
    for stamp in (2.0, 3.0):
        feed(node, make_image(stamp), FRONT)
        feed(node, make_image(stamp, height=32, width=48), REAR)
    fake_pipeline.gate.set()
    front, rear = node.cameras
    wait_for(
        lambda: (front.statistics.processed, rear.statistics.processed) == (2, 1), "all frames"
    )
    passes = fake_pipeline.passes + fake_pipeline.others[0].passes
    assert sorted(passes) == [1, 2]
    assert (front.slot.dropped, rear.slot.dropped) == (1, 1)
    sizes = [image.shape for image, _ in fake_pipeline.others[0].images]
    assert sizes == [(32, 48, 3)]


def test_every_camera_is_reported(node, give, listener, wait_for_status):
    give(FRONT, 1.0)
    profile = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
    listener.subscribe(Image, "/rmpsam/rear/overlay", profile)
    for part in ("input", "processing", "prompts", "outputs"):
        for camera in ("front", "rear"):
            wait_for_status(f"{camera} {part}", {0, 1})
    wait_for_status("rear input", {1}, "remap rear/image")


def test_thresholds_reach_every_camera(node, give, fake_pipeline):
    from rclpy.parameter import Parameter

    node.set_parameters([Parameter("score_threshold", value=0.25)])
    give(FRONT, 1.0)
    give(REAR, 1.0)
    fusions = [fake_pipeline.fusions[-1], fake_pipeline.others[0].fusions[-1]]
    assert [one.score_threshold for one in fusions] == [0.25, 0.25]


def test_all_pipelines_are_closed_and_made_again(node, change_state, fake_pipeline, give):
    assert change_state("deactivate") and change_state("cleanup")
    assert fake_pipeline.closed and all(one.closed for one in fake_pipeline.others)
    assert change_state("configure") and change_state("activate")
    give(REAR, 1.0)
    assert np.isclose(fake_pipeline.others[-1].stamps[-1], 1.0)
