"""Frames and masks as the browser gets them, read back by the form that wire.py writes down."""

import json
import math
import struct

import cv2
import numpy as np
import pytest

pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from sensor_msgs.msg import CompressedImage, Image

from rmpsam_ros.console.encoding import Choice, encode_jpeg
from rmpsam_ros.console.frame_message import pack_frame
from rmpsam_ros.console.frames import Frame
from rmpsam_ros.console.ros.health import Part, mono16_white
from rmpsam_ros.console.wire import Packer, finish
from rmpsam_ros.msg import (
    InstanceTrack,
    InstanceTrackArray,
    PanopticSegment,
    PanopticSegmentation,
    PromptedMask,
    PromptedMaskArray,
)
from rmpsam_ros.segmentation.labels import load_label_set
from rmpsam_ros.segmentation.overlay import segment_color

TYPES = {"u8": np.uint8, "u16": np.uint16, "u32": np.uint32}


def read(message):
    length, age = struct.unpack_from("<If", message)
    header = json.loads(message[8 : 8 + length])
    start = 8 + length
    arrays = [
        np.frombuffer(message, TYPES[kind], count, start + offset)
        for offset, count, kind in header["sections"]
    ]
    return header, age, arrays


def rgb_image(height=6, width=8, color=(250, 10, 30)):
    pixels = np.full((height, width, 3), color, np.uint8)
    image = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    image.header.stamp.sec, image.header.stamp.nanosec = 12, 345
    image.data = pixels.tobytes()
    return image


def test_sections_are_aligned_and_come_back():
    packer = Packer()
    values = [np.arange(3, dtype=np.uint8), np.arange(5, dtype=np.uint16), [1, 2**32 - 1]]
    for array in values[:2]:
        packer.add(array)
    packer.add(values[2], "uint32")
    header, age, arrays = read(finish(packer.pack({"type": "ü"}), 0.25))
    assert header["type"] == "ü" and age == 0.25
    assert all(offset % 4 == 0 for offset, _, _ in header["sections"])
    for array, value in zip(arrays, values, strict=True):
        np.testing.assert_array_equal(array, value)
    assert math.isnan(read(finish(packer.pack({})))[1])


def test_a_whole_frame():
    labels = load_label_set("coco_panoptic")
    segment = PanopticSegment(id=1, class_id=0, class_name="person", is_thing=True, track_id=9)
    panoptic = PanopticSegmentation(height=6, width=8, segments=[segment])
    panoptic.run_ids, panoptic.run_lengths = [0, 1], [40, 8]
    track = InstanceTrack(id=9, state=2, class_name="person", score=0.5, segment_id=1, hits=4)
    track.age.sec = 3
    mask = PromptedMask(object_id="cup", state=1, score=0.75)
    mask.mask.height, mask.mask.width, mask.mask.counts = 6, 8, [0, 2]
    mask.mask.box.width, mask.mask.box.height = 2, 1
    frame = Frame(
        4,
        12_000_000_345,
        rgb_image(),
        panoptic,
        InstanceTrackArray(tracks=[track]),
        None,
        PromptedMaskArray(masks=[mask]),
    )
    header, _, arrays = read(finish(pack_frame(frame, "front", labels, Choice()), 0.0))
    assert (header["number"], header["stamp"], header["camera"]) == (4, "12000000345", "front")
    assert (header["height"], header["width"]) == (6, 8)
    found = header["panoptic"]
    assert arrays[found["ids"]].tolist() == [0, 1]
    assert arrays[found["lengths"]].tolist() == [40, 8]
    assert tuple(found["segments"][0]["color"]) == segment_color(segment, labels, 9)
    assert header["tracks"][0] == {
        "id": 9,
        "state": "confirmed",
        "class_id": 0,
        "name": "person",
        "score": 0.5,
        "age": 3.0,
        "hits": 4,
        "segment": 1,
        "box": [0, 0, 0, 0],
    }
    prompt = header["prompts"][0]
    assert (prompt["object_id"], prompt["state"], prompt["box"]) == (
        "cup",
        "tracked",
        [0, 0, 2, 1],
    )
    assert arrays[prompt["counts"]].tolist() == [0, 2]
    decoded = cv2.imdecode(arrays[header["jpeg"]], cv2.IMREAD_COLOR)
    assert decoded.shape == (6, 8, 3)
    assert np.abs(decoded[..., ::-1].astype(int) - (250, 10, 30)).max() < 8


def test_smaller_images_keep_the_size_of_the_camera():
    data, size = encode_jpeg(rgb_image(480, 960), Choice("low", 640))
    assert size == (480, 960)
    assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape == (320, 640, 3)


@pytest.mark.parametrize(("white", "expected"), [(65535, 15), (4095, 255), (16383, 64)])
def test_grey_of_sixteen_bits_is_as_bright_as_the_node_takes_it(white, expected):
    image = Image(height=8, width=8, encoding="mono16", step=16)
    image.data = np.full((8, 8), 4095, np.uint16).tobytes()
    frame = Frame(1, 5, image)
    header, _, arrays = read(finish(pack_frame(frame, "", None, Choice(), white)))
    shown = cv2.imdecode(arrays[header["jpeg"]], cv2.IMREAD_COLOR)
    assert np.abs(shown.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("values", "white"),
    [
        ({"mono16 white": "4095"}, 4095),
        ({"mono16 white": "0"}, 65535),
        ({"mono16 white": "70000"}, 65535),
        ({"mono16 white": "many"}, 65535),
        ({}, 65535),
    ],
)
def test_white_is_what_the_node_says_of_itself(values, white):
    parts = [Part("network", "ok", ""), Part("front input", "ok", "", values)]
    assert mono16_white(parts) == white


def compressed(data):
    image = CompressedImage(format="jpeg")
    image.data = np.asarray(data).tobytes()
    return image


def test_jpeg_of_the_camera_passes_as_it_is():
    _, data = cv2.imencode(".jpg", np.zeros((6, 8, 3), np.uint8))
    found, size = encode_jpeg(compressed(data), Choice())
    assert size == (6, 8) and found.tobytes() == data.tobytes()


def test_what_only_a_browser_would_obey_does_not_pass():
    """An orientation in the file: the node ignores it, so the page must not see it."""
    _, data = cv2.imencode(".jpg", np.zeros((6, 8, 3), np.uint8))
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01" + entry + bytes(4)
    exif = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    turned = data.tobytes()[:2] + exif + data.tobytes()[2:]
    found, size = encode_jpeg(compressed(np.frombuffer(turned, np.uint8)), Choice())
    assert size == (6, 8) and b"Exif" not in found.tobytes()
