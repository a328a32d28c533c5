"""The node hears again after messages and requests could not be taken."""

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from sensor_msgs.msg import Image

from rmpsam_ros.srv import ListPrompts


@pytest.mark.parametrize("attempts", [1, 3])
def test_images_are_taken_again(make_node, listener, make_image, wait_for, monkeypatch, attempts):
    node = make_node()
    wait_for(lambda: node.cameras[0].active, "the active state")
    subscription, failed = node.cameras[0].subscription, []
    take = node.executor._take_subscription

    def refuse(entity):
        if entity is subscription and len(failed) < attempts:
            failed.append(entity)
            raise RuntimeError("Unable to convert call argument '0' to Python object")
        return take(entity)

    monkeypatch.setattr(node.executor, "_take_subscription", refuse)
    images = listener.publisher(Image, "/image")
    stamps = iter(range(1, 1000))

    def processed():
        images.publish(make_image(float(next(stamps))))
        return len(failed) == attempts and node.cameras[0].statistics.processed

    wait_for(processed, "an image after the shortage")


def test_requests_are_answered_again(make_node, listener, wait_for, monkeypatch):
    node = make_node()
    wait_for(lambda: node.cameras[0].active, "the active state")
    failed = []
    take = node.executor._take_service

    def refuse(entity):
        if entity.srv_name.endswith("list_prompts") and not failed:
            failed.append(entity)
            raise MemoryError
        return take(entity)

    monkeypatch.setattr(node.executor, "_take_service", refuse)
    name = "/rmpsam/list_prompts"
    answer = listener.call(ListPrompts, name, ListPrompts.Request())  # waits where it was
    assert failed and answer.code == ListPrompts.Response.OK
