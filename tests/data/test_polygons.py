"""Polygons of annotations against pycocotools, and damaged masks."""

import numpy as np
import pytest
from pycocotools import mask as coco

from rmpsam_ros.data.coco import segmentation_mask
from rmpsam_ros.data.samples import DataError
from rmpsam_ros.data.yolo import fill_polygons

HEIGHT, WIDTH = 48, 64


@pytest.mark.parametrize("seed", range(4))
def test_polygons_agree_with_pycocotools(seed):
    """Up to pixels whose centre is next to an edge."""
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


def test_a_damaged_mask_is_an_error_of_the_data():
    with pytest.raises(DataError, match="a mask is damaged: run lengths sum to 5"):
        segmentation_mask({"size": [2, 3], "counts": [5]}, (2, 3))
