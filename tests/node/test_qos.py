"""Topics, services and actions of the node with their quality of service, all from one file."""

import ast
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger

from rmpsam_ros.node import qos
from rmpsam_ros.node.results import detections

SOURCES = Path(__file__).resolve().parents[2] / "rmpsam_ros" / "node"
RELIABLE, LATCHED = "reliable, keep last 5", "reliable, latched, keep last 1"
IMAGES, DEPTH = "reliable, keep last 1", "best effort, keep last 5"
CALIBRATION = "best effort, keep last 1"
REQUESTS = "reliable, keep last 1000"
ANSWERED = 30  # clients at the same moment, three times what a service keeps by default

PUBLISHERS = {
    "/diagnostics": RELIABLE,
    "/rmpsam/label_info": LATCHED,
    "/rmpsam/panoptic": RELIABLE,
    "/rmpsam/panoptic/semantic": RELIABLE,
    "/rmpsam/panoptic/instance": RELIABLE,
    "/rmpsam/tracks": RELIABLE,
    "/rmpsam/prompted_masks": RELIABLE,
    "/rmpsam/overlay": RELIABLE,
    "/rmpsam/latency": RELIABLE,
    "/rmpsam/mask/image": RELIABLE,
    "/rmpsam/mask/camera_info": RELIABLE,
    "/rmpsam/panoptic/confidence": RELIABLE,
    "/rmpsam/positions": RELIABLE,
    "/rmpsam/markers": RELIABLE,
    "/rmpsam/labelled_cloud": RELIABLE,
    "/rmpsam/organized_cloud": RELIABLE,
}
WITH_VISION_MSGS = {
    "/rmpsam/detections": RELIABLE,
    "/rmpsam/detections_3d": RELIABLE,
    "/rmpsam/panoptic/label_info": LATCHED,
}
SUBSCRIPTIONS = {
    "/image": IMAGES,
    "/camera_info": CALIBRATION,
    "/depth": DEPTH,
    "/rmpsam/click": RELIABLE,
    "/image_mouse_left": RELIABLE,
    "/rmpsam/overlay_mouse_left": RELIABLE,
}
SERVICES = dict.fromkeys(
    (
        "/rmpsam/add_prompt",
        "/rmpsam/remove_prompt",
        "/rmpsam/list_prompts",
        "/rmpsam/clear_prompts",
        "/rmpsam/segment_everything",
        "/rmpsam/reset_tracks",
    ),
    REQUESTS,
)
ACTION = "/rmpsam/segment_everything/_action/"
ACTION_TOPICS = {"feedback": "reliable", "status": "reliable, latched"}
# Topics and services that every node or every managed node of ROS 2 has.
OF_ROS = ("parameter", "get_", "change_state", "transition_event", "rosout", "clock")


def described(entities, name_of):
    found = {name_of(entity): qos.describe(entity.qos_profile) for entity in entities}
    return {
        name: profile
        for name, profile in found.items()
        if not any(part in name.rpartition("/")[2] for part in OF_ROS)
    }


def test_topics_and_services_with_their_quality_of_service(make_node):
    node = make_node(use_depth=True, autostart=False)

    def service_name(service):
        return node.resolve_service_name(service.srv_name)

    expected = PUBLISHERS | (WITH_VISION_MSGS if detections.installed() else {})
    assert described(node.publishers, lambda entity: entity.topic_name) == expected
    assert described(node.subscriptions, lambda entity: entity.topic_name) == SUBSCRIPTIONS
    assert described(node.services, service_name) == SERVICES


def test_actions_with_their_quality_of_service(make_node, listener, wait_for):
    from rclpy.action import get_action_server_names_and_types_by_node

    make_node(autostart=False)
    served = wait_for(
        lambda: get_action_server_names_and_types_by_node(listener.node, "rmpsam", "/"),
        "an action",
    )
    assert served == [("/rmpsam/segment_everything", ["rmpsam_ros/action/SegmentEverything"])]
    for topic, profile in ACTION_TOPICS.items():
        (found,) = wait_for(
            lambda topic=topic: listener.node.get_publishers_info_by_topic(ACTION + topic), topic
        )
        # How many are kept is unknown of another node.
        assert qos.describe(found.qos_profile).partition(", keep")[0] == profile


@pytest.mark.parametrize("file", sorted(SOURCES.rglob("*.py")), ids=lambda file: file.stem)
def test_nothing_is_created_but_through_one_file(file):
    if file.name == "qos.py":
        return
    created = [
        ast.unparse(call.func)
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute | ast.Name)
    ]
    wild = {"create_publisher", "create_subscription", "create_service", "create_client"}
    wild |= {"ActionServer", "ActionClient"}
    assert not [
        name for name in created if name.rpartition(".")[2] in wild and not name.startswith("qos.")
    ]


def test_every_client_of_reset_tracks_is_answered(make_node, ros, wait_for):
    """All ask before the executor has looked: a service that keeps 10 loses the other 20."""
    from rclpy.executors import SingleThreadedExecutor

    node = make_node(spinning=False)
    clients = ros.create_node("clients")
    executor = SingleThreadedExecutor()
    executor.add_node(clients)
    thread = threading.Thread(target=executor.spin, daemon=True)
    try:
        client = clients.create_client(Trigger, "/rmpsam/reset_tracks", qos_profile=qos.requests())
        thread.start()
        assert client.wait_for_service(timeout_sec=60.0)
        futures = [client.call_async(Trigger.Request()) for _ in range(ANSWERED)]
        running = threading.Thread(target=node.executor.spin, daemon=True)
        running.start()
        wait_for(lambda: all(future.done() for future in futures), "every answer")
    finally:
        node.executor.shutdown()
        executor.shutdown()
        thread.join(60.0)
        clients.destroy_node()


@pytest.mark.parametrize(
    ("wanted", "used"),
    [("best_effort", "BEST_EFFORT"), ("reliable", "RELIABLE"), ("auto", "RELIABLE")],
)
def test_images_are_asked_for_as_the_parameter_says(make_node, wanted, used):
    profile = make_node(autostart=False, image_reliability=wanted).cameras[0].profile
    assert profile.reliability.name == used and profile.depth == 1


@pytest.mark.parametrize("order", [("RELIABLE", "BEST_EFFORT"), ("BEST_EFFORT", "RELIABLE")])
def test_cameras_of_both_kinds_are_heard_whichever_comes_first(
    make_node, listener, wait_for, wait_for_status, order
):
    camera = make_node().cameras[0]
    wait_for(lambda: camera.active, "the active state")
    kinds = []
    for reliability in order:
        before = camera.slot.received
        profile = qos.QoSProfile(depth=1, reliability=ReliabilityPolicy[reliability])
        images = listener.publisher(Image, "/image", profile)
        wait_for(
            lambda images=images, before=before: (
                images.publish(Image()) or camera.slot.received > before
            ),
            f"an image of a {reliability} camera",
        )
        kinds.append(camera.profile.reliability.name)
        listener.node.destroy_publisher(images)
    assert kinds == [order[0], "BEST_EFFORT"], "best effort stays, once it was needed"


def test_with_both_subscriptions_an_image_counts_once(make_node, listener, wait_for):
    camera = make_node().cameras[0]
    wait_for(lambda: camera.active, "the active state")
    assert camera.hear_best_effort() and camera.hear_best_effort()
    images = listener.publisher(Image, "/image", 10)
    wait_for(lambda: images.get_subscription_count() == 2, "both subscriptions")
    for _ in range(5):
        before = camera.slot.received
        images.publish(Image())
        wait_for(lambda before=before: camera.slot.received > before, "the image")
        time.sleep(0.1)  # for the other one
        assert camera.slot.received == before + 1


@pytest.mark.parametrize(
    "chosen",
    [
        {"image_reliability": "reliable"},
        {"qos_overrides./image.subscription.reliability": "reliable"},
    ],
)
def test_what_the_user_chose_is_not_changed(make_node, listener, wait_for_status, chosen):
    camera = make_node(**chosen).cameras[0]
    profile = qos.QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    listener.node.create_publisher(Image, "/image", profile)
    wait_for_status("input", {2}, "best effort cannot serve reliable")
    assert camera.profile.reliability is ReliabilityPolicy.RELIABLE


def test_a_camera_of_the_other_transport_is_named(make_node, listener, wait_for_status):
    make_node(input_timeout=0.2)
    listener.node.create_publisher(CompressedImage, "/image/compressed", 1)
    wait_for_status("input", {2}, "on /image/compressed there are: set image_transport")
