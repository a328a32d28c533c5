"""Mean IoU, recall, J and F, identity switches by hand."""

import math

import numpy as np
import pytest

from rmpsam_ros.evaluation.recall import MaskRecall
from rmpsam_ros.evaluation.semantic import MeanIou
from rmpsam_ros.evaluation.video import (
    IdentitySwitches,
    contour,
    contour_accuracy,
    region_similarity,
)


def box_mask(x1, y1, x2, y2, size=(24, 32)):
    mask = np.zeros(size, bool)
    mask[y1:y2, x1:x2] = True
    return mask


class TestMeanIou:
    def test_by_hand(self):
        score = MeanIou(3)
        score.add(np.array([[0, 0, 1, 1]]), np.array([[0, 1, 1, 9]]), ignore=9)
        assert score.per_class() == {0: 0.5, 1: 0.5}
        assert score.mean() == 0.5

    def test_unlabelled_predictions_are_wrong(self):
        score = MeanIou(2)
        score.add(np.array([[255, 255, 0, 0]]), np.array([[0, 0, 0, 0]]), ignore=9)
        assert score.per_class() == {0: 0.5}

    def test_images_are_summed_before_dividing(self):
        score = MeanIou(2)
        score.add(np.zeros((1, 9), int), np.zeros((1, 9), int), ignore=9)
        score.add(np.ones((1, 1), int), np.zeros((1, 1), int), ignore=9)
        assert score.per_class()[0] == pytest.approx(0.9)

    def test_nothing(self):
        assert math.isnan(MeanIou(2).mean())
        with pytest.raises(ValueError, match="prediction is"):
            MeanIou(2).add(np.zeros((1, 2)), np.zeros((1, 1)), 9)


class TestRecall:
    def test_counts_large_objects_only(self):
        score = MaskRecall()
        large, small = box_mask(0, 0, 10, 10), box_mask(20, 20, 22, 22)
        score.add(np.stack([box_mask(0, 0, 10, 6)]), np.stack([large, small]))
        assert (score.total, score.recall()) == (1, 1.0)
        score.add(np.stack([box_mask(0, 0, 10, 4)]), np.stack([large]))
        assert (score.total, score.recall()) == (2, 0.5)

    def test_nothing_predicted_or_annotated(self):
        score, empty = MaskRecall(), np.zeros((0, 24, 32), bool)
        score.add(empty, empty)
        assert math.isnan(score.recall())
        score.add(empty, np.stack([box_mask(0, 0, 10, 10)]))
        assert score.recall() == 0


class TestRegionAndContour:
    def test_region(self):
        assert region_similarity(box_mask(0, 0, 4, 4), box_mask(0, 0, 4, 2)) == 0.5
        assert region_similarity(box_mask(0, 0, 0, 0), box_mask(0, 0, 0, 0)) == 1

    def test_contour_is_one_pixel_wide(self):
        line = contour(box_mask(8, 8, 12, 12))
        assert line.sum() == 5 * 5 - 3 * 3

    @pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (1, 1.0), (12, 0.0)])
    def test_contour_accuracy(self, shift, expected):
        size = (60, 80)  # 0.8 % of the diagonal is 1 pixel, rounded up
        truth = box_mask(30, 20, 40, 30, size)
        predicted = box_mask(30 + shift, 20 + shift, 40 + shift, 30 + shift, size)
        assert contour_accuracy(predicted, truth) == pytest.approx(expected, abs=0.1 * bool(shift))

    def test_empty_contours(self):
        empty, some = box_mask(0, 0, 0, 0), box_mask(8, 8, 12, 12)
        assert contour_accuracy(empty, empty) == 1
        assert contour_accuracy(some, empty) == 0


class TestIdentitySwitches:
    left, right = box_mask(0, 0, 8, 8), box_mask(16, 0, 24, 8)

    def run(self, *frames):
        counter = IdentitySwitches()
        for ids in frames:
            masks = np.stack([self.left, self.right][: len(ids)]) if ids else np.zeros((0, 24, 32))
            counter.add(ids, masks.astype(bool), [1, 2], np.stack([self.left, self.right]))
        return counter.switches, counter.matches, counter.objects

    def test_steady_tracks(self):
        assert self.run([7, 8], [7, 8], [7, 8]) == (0, 6, 6)

    def test_exchange_counts_twice(self):
        assert self.run([7, 8], [8, 7]) == (2, 4, 4)

    def test_switch_over_a_gap(self):
        assert self.run([7, 8], [], [7, 9]) == (1, 4, 6)

    def test_a_kept_pair_wins_over_a_better_one(self):
        counter, objects = IdentitySwitches(), np.stack([box_mask(0, 0, 10, 10)])
        counter.add([1], objects, [5], objects)
        worse = np.stack([box_mask(0, 0, 10, 7), box_mask(0, 0, 10, 9)])
        counter.add([1, 2], worse, [5], objects)
        assert counter.switches == 0
