"""Which topics belong to which camera."""

import numpy as np
import pytest

from rmpsam_ros.recordings.cameras import find_cameras
from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.reading import Recording

from .conftest import START, scene


@pytest.fixture
def cameras(write_bag, tmp_path, types):
    """Find the cameras of a bag with some topics: raw, /compressed, or depth by their names."""

    def find(*topics, **options):
        def fill(bag):
            for topic in topics:
                if topic.endswith("/compressed"):
                    bag.compressed(topic, START, scene(0))
                elif "depth" in topic:
                    bag.image(topic, START, np.ones((6, 8), np.uint16), encoding="16UC1")
                else:
                    bag.image(topic, START, scene(0))

        with Recording(write_bag(tmp_path / "bag", fill)) as recording:
            return find_cameras(recording, types, **options)

    return find


@pytest.mark.parametrize(
    ("topics", "names"),
    [
        (["/image"], {"/image": ""}),
        (["/front/image_raw", "/rear/image_raw"], {"/front/image_raw": "front",
                                                   "/rear/image_raw": "rear"}),
        (["/cam/left/image", "/cam/right/image"], {"/cam/left/image": "left",
                                                   "/cam/right/image": "right"}),
        (["/cam/color/image", "/eye/image"], {"/cam/color/image": "cam_color",
                                              "/eye/image": "eye"}),
        (["/image", "/front/image"], {"/image": "image", "/front/image": "front_image"}),
        # Recorded twice, depth, and results of an earlier run are no cameras of their own.
        (["/a/image", "/a/image/compressed"], {"/a/image": ""}),
        (["/a/image", "/a/depth"], {"/a/image": ""}),
        (["/a/image", "/rmpsam/overlay"], {"/a/image": ""}),
        (["/a/image/compressed", "/b/image"], {"/a/image/compressed": "a", "/b/image": "b"}),
    ],
)  # fmt: skip
def test_all_colour_images_are_cameras(cameras, topics, names):
    found = cameras(*topics)
    assert {one.image: one.name for one in found} == names
    assert [one.name for one in found] == sorted(one.name for one in found)
    assert all(one.compressed == one.image.endswith("/compressed") for one in found)


def test_calibration_lies_beside_the_images(cameras):
    (camera,) = cameras("/front/image_raw/compressed")
    assert camera.info == "/front/camera_info"
    assert camera.own("tracks") == "/rmpsam/tracks"


def test_wanted_cameras_and_their_names(cameras):
    found = cameras("/a/image", "/b/image", "/c/image", wanted=["eye=/b/image", "/c/image"])
    assert [(one.name, one.image) for one in found] == [("c", "/c/image"), ("eye", "/b/image")]
    assert found[1].own("tracks") == "/rmpsam/eye/tracks"


def test_depth_by_the_name_of_its_camera(cameras):
    (camera,) = cameras("/a/image", "/a/depth", depth={"": "/a/depth"})
    assert camera.depth == "/a/depth"


@pytest.mark.parametrize(
    ("topics", "options", "words"),
    [
        (["/a/image"], {"wanted": ["/b/image"]}, "no images on /b/image; images are on /a/image"),
        (["/a/depth"], {}, "has no images; images are on /a/depth"),
        (["/a/image"], {"depth": {"": "/a/depth"}}, "no messages"),
        (["/a/image"], {"depth": {"front": "/a/image"}}, "camera 'front'; the cameras are ''"),
        (["/a/image", "/b/image"], {"wanted": ["x=/a/image", "x=/b/image"]}, "have one name"),
    ],
)
def test_what_does_not_exist_is_named(cameras, topics, options, words):
    with pytest.raises(RecordingError, match=words):
        cameras(*topics, **options)


def test_a_recording_without_images_says_what_it_holds(write_bag, tmp_path, types):
    bag = write_bag(tmp_path / "bag", lambda one: one.transform("/tf", START))
    with Recording(bag) as recording, pytest.raises(RecordingError, match="it holds /tf"):
        find_cameras(recording, types)
