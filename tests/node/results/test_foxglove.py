"""Outlines for Foxglove, with the fields of its messages; they cannot be had from PyPI."""

import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from std_msgs.msg import Header

from rmpsam_ros.node.results import foxglove
from rmpsam_ros.segmentation.labels import load_label_set
from rmpsam_ros.segmentation.overlay import segment_color
from rmpsam_ros.segmentation.results import Segment
from rmpsam_ros.segmentation.run_length import encode_mask
from rmpsam_ros.tracking import Track, TrackState


# As the .msg files have them; slots, so that no other field can be set.
@dataclass(slots=True)
class Color:
    r: float = 0.0
    g: float = 0.0
    b: float = 0.0
    a: float = 0.0


@dataclass(slots=True)
class Point2:
    x: float = 0.0
    y: float = 0.0


@dataclass(slots=True)
class PointsAnnotation:
    timestamp: object = None
    type: int = 0
    points: list = field(default_factory=list)
    outline_color: Color = None
    outline_colors: list = field(default_factory=list)
    fill_color: Color = None
    thickness: float = 0.0


PointsAnnotation.LINE_LOOP = 2


@dataclass(slots=True)
class TextAnnotation:
    timestamp: object = None
    position: Point2 = None
    text: str = ""
    font_size: float = 0.0
    text_color: Color = None
    background_color: Color = None


@dataclass(slots=True)
class ImageAnnotations:
    circles: list = field(default_factory=list)
    points: list = field(default_factory=list)
    texts: list = field(default_factory=list)


@pytest.fixture
def installed(monkeypatch):
    kinds = (Color, Point2, PointsAnnotation, TextAnnotation, ImageAnnotations)
    module = ModuleType("foxglove_msgs.msg")
    for kind in kinds:
        setattr(module, kind.__name__, kind)
        monkeypatch.setattr(foxglove, kind.__name__, kind, raising=False)
    monkeypatch.setitem(sys.modules, "foxglove_msgs.msg", module)


def test_tracks_become_outlines_with_names(installed):
    assert foxglove.installed()
    mask = np.zeros((60, 80), bool)
    mask[10:30, 5:25] = True
    segment = Segment(2, 0, True, 0.5, 400, (5, 10, 25, 30), 4)
    seen = Track(7, TrackState.CONFIRMED, 0, 0.5, 0.0, 1.0, 9, 2)
    lost = Track(5, TrackState.LOST, 1, 0.25, 0.0, 1.0, 3, 0)
    result = SimpleNamespace(
        panoptic=SimpleNamespace(segments=(segment,)),
        tracks=(seen, lost),
        track_masks={7: encode_mask(mask)},
    )
    labels, header = load_label_set("coco_panoptic"), Header()
    header.stamp.sec = 12
    message = foxglove.annotations_message(header, result, labels)
    (outline,), (text,) = message.points, message.texts
    assert outline.type == 2 and outline.timestamp == header.stamp
    corners = {(point.x, point.y) for point in outline.points}
    assert corners == {(5.5, 10.5), (24.5, 10.5), (5.5, 29.5), (24.5, 29.5)}
    red, green, blue = segment_color(segment, labels, 7)
    assert outline.outline_color == Color(red / 255, green / 255, blue / 255, 1.0)
    assert text.text == "person 7" and (text.position.x, text.position.y) == (5.0, 10.0)


def test_the_topic_is_there_where_foxglove_msgs_is(make_node):
    node = make_node()
    topics = {publisher.topic_name for publisher in node.cameras[0].publishers.all}
    assert ("/rmpsam/annotations" in topics) == foxglove.installed()
