"""COCO's run lengths: what pycocotools writes and reads, and what is refused."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco

from rmpsam_ros.segmentation.coco_run_length import decode_coco, encode_coco
from rmpsam_ros.segmentation.run_length import encode_mask


def shapes():
    """Masks with pixels in the corners, at the edges, none at all, and noise."""
    rng = np.random.default_rng(0)
    for height, width in ((7, 5), (48, 64), (1, 9), (9, 1), (300, 400)):
        noise = rng.random((height, width))
        yield from (noise < 0.5, noise < 0.02, noise < 0.0, noise < 2.0)
        for y, x in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
            mask = np.zeros((height, width), bool)
            mask[y, x] = True
            yield mask
        box = np.zeros((height, width), bool)
        box[height // 4 : height // 2 + 1, width // 4 : width // 2 + 1] = True
        yield box


@pytest.mark.parametrize("mask", list(shapes()), ids=lambda mask: f"{mask.shape} {mask.sum()}")
def test_masks_survive_both_readers(mask):
    packed = json.loads(json.dumps(encode_coco(mask)))
    assert packed == encode_coco(encode_mask(mask))
    assert packed["size"] == list(mask.shape)
    np.testing.assert_array_equal(coco.decode(packed).astype(bool), mask)
    np.testing.assert_array_equal(decode_coco(packed), mask)


def test_long_and_shrinking_runs():
    runs = [0, 70000, 3, 1, 40000, 2, 1, 65535 * 31, 12]
    size = [sum(runs), 1]
    packed = coco.frPyObjects({"size": size, "counts": runs}, *size)["counts"].decode()
    plain = decode_coco({"size": size, "counts": runs})
    np.testing.assert_array_equal(decode_coco({"size": size, "counts": packed}), plain)
    assert np.flatnonzero(np.diff(plain[:, 0])).tolist() == (np.cumsum(runs[1:-1]) - 1).tolist()


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([5], "sum to 5"),
        ([7], "sum to 7"),
        ([3, -1, 4], "expected 2 x 3"),
        ([], "sum to 0"),
        ("5", "sum to 5"),
        ("", "sum to 0"),
        ("o", "middle of a number"),
    ],
)
def test_damaged_run_lengths(counts, message):
    with pytest.raises(ValueError, match=message):
        decode_coco({"size": [2, 3], "counts": counts})
