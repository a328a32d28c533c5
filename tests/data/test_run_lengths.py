"""Run lengths and polygons of annotations: round trips, agreement with pycocotools, errors."""

import numpy as np
import pytest

from rmpsam_ros.data.run_lengths import decode_coco, encode_coco
from rmpsam_ros.data.samples import DataError
from rmpsam_ros.data.yolo import fill_polygons

HEIGHT, WIDTH = 48, 64


@pytest.mark.parametrize("seed", range(4))
def test_run_lengths_round_trip_and_agree_with_pycocotools(seed):
    mask = np.random.default_rng(seed).random((7, 9)) < 0.4
    assert np.array_equal(decode_coco(encode_coco(mask)), mask)
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is a test-only reference")
    packed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    packed = {"size": packed["size"], "counts": packed["counts"].decode()}
    assert np.array_equal(decode_coco(packed), mask)


@pytest.mark.parametrize("seed", range(4))
def test_polygons_agree_with_pycocotools(seed):
    """Up to pixels whose centre is next to an edge."""
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is a test-only reference")
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radii = rng.uniform(10, 26, 9)
    polygon = np.stack((34 + radii * np.cos(angles), 22 + radii * np.sin(angles)), axis=1)
    ours = fill_polygons([polygon], (HEIGHT, WIDTH))
    theirs = coco.decode(coco.frPyObjects([polygon.ravel().tolist()], HEIGHT, WIDTH))[:, :, 0]
    assert (ours != theirs.astype(bool)).sum() < 0.04 * ours.sum()


def test_polygons_beyond_the_border_and_without_area():
    outside = np.array([[-9.0, -9], [200, -9], [200, 200], [-9, 200]])
    assert fill_polygons([outside], (HEIGHT, WIDTH)).all()
    line = np.array([[3.0, 3], [9, 3], [5, 3]])
    assert not fill_polygons([line], (HEIGHT, WIDTH)).any()


def test_wrong_run_lengths():
    with pytest.raises(DataError, match="sum to 5"):
        decode_coco({"size": [2, 3], "counts": [5]})
    with pytest.raises(DataError, match="middle of a number"):
        decode_coco({"size": [2, 3], "counts": "o"})
