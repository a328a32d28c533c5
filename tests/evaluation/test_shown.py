"""Objects shown and named among panoptic segments, counted by hand."""

import math

import numpy as np
import pytest

from rmpsam_ros.data.samples import UNNAMED, Sample, stack_masks
from rmpsam_ros.evaluation.shown import ShownObjects
from rmpsam_ros.segmentation.results import PanopticResult, Segment

SIZE = (40, 40)


def square(x, y, side=10):
    mask = np.zeros(SIZE, bool)
    mask[y : y + side, x : x + side] = True
    return mask


def sample(masks=(), classes=(), ignore=None):
    image = np.zeros((*SIZE, 3), np.uint8)
    ignore = np.zeros(SIZE, bool) if ignore is None else ignore
    return Sample(
        image,
        stack_masks(list(masks), SIZE),
        np.array(classes, np.int64),
        ignore,
        np.ones(3, bool),
    )


def result(*segments):
    """Segments as (mask, class, is a thing)."""
    ids = np.zeros(SIZE, np.uint16)
    found = []
    for number, (mask, class_id, is_thing) in enumerate(segments, 1):
        ids[mask] = number
        found.append(Segment(number, class_id, is_thing, 0.9, int(mask.sum()), (0, 0, 1, 1), 0))
    return PanopticResult(ids, tuple(found))


@pytest.mark.parametrize(
    ("segments", "truth", "expected"),
    [
        # objects, shown, named, segments, empty
        ([], sample([square(0, 0)], [0]), (1, 0, 0, 0, 0)),
        ([(square(0, 0), 0, True)], sample([square(0, 0)], [0]), (1, 1, 1, 1, 0)),
        ([(square(0, 0), 1, True)], sample([square(0, 0)], [0]), (1, 1, 0, 1, 0)),
        ([(square(0, 0), 0, True)], sample([square(0, 0)], [UNNAMED]), (1, 1, 0, 1, 0)),
        ([(square(7, 0), 0, True)], sample([square(0, 0)], [0]), (1, 0, 0, 1, 1)),
        ([(square(0, 0), 0, False)], sample([square(0, 0)], [0]), (1, 0, 0, 0, 0)),  # stuff
        ([(square(0, 0, 3), 0, True)], sample([square(0, 0, 3)], [0]), (0, 0, 0, 1, 0)),  # small
        ([(square(0, 0), 0, True)], sample(ignore=square(0, 0, 12)), (0, 0, 0, 0, 0)),  # unknown
        (
            [(square(0, 0), 0, True), (square(20, 20), 0, True)],
            sample([square(20, 20)], [0], ignore=square(0, 0, 12)),
            (1, 1, 1, 1, 0),
        ),
        (
            [(square(0, 0), 0, True), (square(20, 20), 1, True), (square(0, 20), 2, True)],
            sample([square(0, 0), square(20, 20)], [0, 0]),
            (2, 2, 1, 3, 1),
        ),
    ],
)
def test_counts(segments, truth, expected):
    counts = ShownObjects()
    counts.add(result(*segments), truth)
    figures = counts.figures()
    objects, shown, named, segment_count, empty = expected
    assert figures["objects"] == objects
    assert figures["segments"] == segment_count
    for name, part, whole in (
        ("shown", shown, objects),
        ("named", named, objects),
        ("empty_segments", empty, segment_count),
    ):
        if whole:
            assert figures[name] == pytest.approx(part / whole)
        else:
            assert math.isnan(figures[name])


def test_images_add_up():
    counts = ShownObjects()
    counts.add(result((square(0, 0), 0, True)), sample([square(0, 0)], [0]))
    counts.add(result(), sample([square(0, 0)], [0]))
    assert counts.figures()["shown"] == 0.5
