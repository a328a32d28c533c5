"""The rules of panoptic fusion one by one, broken numbers, and arrays that it refuses."""

from __future__ import annotations

import time

import numpy as np
import pytest

from rmpsam_ros.segmentation.labels import Label, LabelSet
from rmpsam_ros.segmentation.panoptic import FusionConfig, fuse_panoptic
from rmpsam_ros.segmentation.preprocess import Letterbox, fit

TOY = LabelSet("toy", (Label(0, "cup", True, (1, 2, 3)), Label(1, "floor", False, (4, 5, 6))))
LOOSE = FusionConfig(score_threshold=0.5, overlap_threshold=0.0)


def flat(size, mask=None):
    """Letterbox of an image that is the network input, masks at `mask` or the same size."""
    padded = mask or size
    return Letterbox(size, size, padded)


def toy_logits(*class_ids):
    """Sure class logits (N, 3) of the toy labels; class 2 is "none"."""
    logits = np.zeros((len(class_ids), 3), np.float32)
    logits[np.arange(len(class_ids)), class_ids] = 8.0
    return logits


class TestRules:
    def test_no_query_is_sure(self, coco):
        class_logits = np.zeros((100, 134), np.float32)
        masks = np.ones((100, 8, 8), np.float32)
        result = fuse_panoptic(class_logits, masks, flat((30, 40), (32, 64)), coco)
        assert result.segments == () and not result.id_map.any()

    def test_no_query_at_all(self):
        empty = np.zeros((0, 3), np.float32), np.zeros((0, 4, 4), np.float32)
        assert fuse_panoptic(*empty, flat((5, 5), (32, 32)), TOY).segments == ()

    def test_score_must_be_above_the_threshold(self):
        logits = np.log(np.array([[0.8, 0.1, 0.1]], np.float32))
        masks = np.ones((1, 4, 4), np.float32)
        score = float(np.exp(logits).max() / np.exp(logits).sum())
        below, above = np.nextafter(np.float32(score), [0, 1], dtype=np.float32)
        for threshold, count in ((float(above), 0), (float(below) - 1e-6, 1)):
            config = FusionConfig(score_threshold=threshold)
            found = fuse_panoptic(logits, masks, flat((4, 4)), TOY, config)
            assert len(found.segments) == count

    def test_first_of_equals_wins(self):
        masks = np.full((2, 8, 8), 3.0, np.float32)
        result = fuse_panoptic(toy_logits(0, 0), masks, flat((40, 40), (64, 64)), TOY, LOOSE)
        assert [s.query for s in result.segments] == [0] and result.segments[0].area == 1600

    def test_first_of_saturated_equals_wins(self):
        masks = np.stack([np.full((8, 8), 30.0), np.full((8, 8), 90.0)]).astype(np.float32)
        result = fuse_panoptic(toy_logits(0, 0), masks, flat((8, 8)), TOY, LOOSE)
        assert [s.query for s in result.segments] == [0]

    def test_zero_logit_belongs_to_the_mask(self):
        masks = np.zeros((1, 4, 4), np.float32)
        result = fuse_panoptic(toy_logits(0), masks, flat((16, 16), (32, 32)), TOY)
        assert result.segments[0].area == 256

    def test_zero_logit_counts_as_claimed_beside_others(self):
        """Query 0 wins 5 of 10 claimed pixels; without the zeros it would be 5 of 5."""
        masks = np.full((2, 1, 40), -5.0, np.float32)
        masks[0, 0, :5], masks[0, 0, 5:10] = 1.0, 0.0
        masks[1, 0, 5:10], masks[1, 0, 10:] = 5.0, 5.0
        result = fuse_panoptic(toy_logits(0, 0), masks, flat((1, 40)), TOY)
        assert [s.query for s in result.segments] == [1]

    def test_stuff_merges_and_things_do_not(self):
        masks = np.full((4, 4, 8), -9.0, np.float32)
        for k, columns in enumerate((slice(0, 1), slice(1, 4), slice(4, 6), slice(6, 8))):
            masks[k, :, columns] = 9.0
        classes = toy_logits(1, 1, 0, 0)
        classes[0] *= 0.9
        result = fuse_panoptic(classes, masks, flat((4, 8)), TOY)
        floor, *cups = result.segments
        assert (floor.id, floor.class_id, floor.query, floor.area) == (1, 1, 1, 16)
        assert floor.box == (0, 0, 4, 4) and floor.score > 0.99
        assert floor.score == pytest.approx(float(np.exp(8) / (np.exp(8) + 2)))
        assert [(s.id, s.area, s.box) for s in cups] == [
            (2, 8, (4, 0, 6, 4)),
            (3, 8, (6, 0, 8, 4)),
        ]

    def test_pixels_of_a_dropped_query_stay_empty(self):
        masks = np.full((2, 4, 8), 4.0, np.float32)
        masks[1, :, 2:] = 2.0  # query 1 claims everything and wins a quarter
        masks[1, :, :2] = 6.0
        masks[0, :, :2] = -4.0
        result = fuse_panoptic(toy_logits(0, 0), masks, flat((4, 8)), TOY)
        assert [s.query for s in result.segments] == [0]
        assert (result.id_map[:, :2] == 0).all() and (result.id_map[:, 2:] == 1).all()

    def test_won_counts_unsure_pixels_before_they_are_dropped(self):
        """9 of 10 claimed pixels are lost, but 30 unsure ones are won: the ratio is above 0.8."""
        masks = np.full((2, 1, 40), -2.0, np.float32)
        masks[1] = -3.0
        masks[0, 0, :10] = 1.0
        masks[1, 0, 1:10] = 5.0
        result = fuse_panoptic(toy_logits(0, 0), masks, flat((1, 40)), TOY)
        assert [(s.query, s.area) for s in result.segments] == [(0, 1), (1, 9)]

    def test_survivor_without_a_sure_pixel_is_no_segment(self):
        masks = np.full((2, 1, 40), -2.0, np.float32)
        masks[0, 0, :10] = 1.0
        masks[1, 0, :10] = 5.0
        masks[1, 0, 10:] = -3.0
        result = fuse_panoptic(toy_logits(0, 0), masks, flat((1, 40)), TOY)
        assert [(s.id, s.query) for s in result.segments] == [(1, 1)]

    def test_class_filter_does_not_change_what_is_reported(self, scenes, coco):
        rng = np.random.default_rng(5)
        geometry = fit((120, 160), (160, 120))
        classes, masks = scenes.class_logits(rng, 20, 20), scenes.cells(rng, 20, 20, (32, 40))
        everything = fuse_panoptic(classes, masks, geometry, coco)
        chosen = frozenset(s.class_id for s in everything.segments[::2])
        config = FusionConfig(class_ids=chosen)
        some = fuse_panoptic(classes, masks, geometry, coco, config)
        kept = [s for s in everything.segments if s.class_id in chosen]
        assert [(s.query, s.area, s.box) for s in some.segments] == [
            (s.query, s.area, s.box) for s in kept
        ]
        for mine, full in zip(some.segments, kept, strict=True):
            assert ((some.id_map == mine.id) == (everything.id_map == full.id)).all()

    def test_many_things_get_many_ids(self, coco):
        """More ids than a byte can hold."""
        masks = np.full((400, 20, 20), -9.0, np.float32)
        masks[np.arange(400), np.arange(400) // 20, np.arange(400) % 20] = 9.0
        result = fuse_panoptic(toy_logits(*[0] * 400), masks, flat((20, 20)), TOY)
        assert [s.id for s in result.segments] == list(range(1, 401))
        assert (result.id_map.ravel() == np.arange(1, 401)).all()

    def test_does_not_touch_its_input(self, scenes, coco):
        rng = np.random.default_rng(1)
        classes, masks = scenes.class_logits(rng, 9, 9), scenes.cells(rng, 9, 9, (8, 8))
        before = classes.copy(), masks.copy()
        fuse_panoptic(classes, masks, fit((30, 30), (32, 32)), coco)
        assert (classes == before[0]).all() and (masks == before[1]).all()

    def test_takes_any_strides(self, scenes, coco):
        rng = np.random.default_rng(1)
        classes, masks = scenes.class_logits(rng, 9, 9), scenes.cells(rng, 9, 9, (8, 8))
        geometry = fit((30, 30), (32, 32))
        plain = fuse_panoptic(classes, masks, geometry, coco)
        strided = np.asfortranarray(masks), np.repeat(classes, 2, axis=1)[:, ::2]
        again = fuse_panoptic(strided[1], strided[0], geometry, coco)
        assert (plain.id_map == again.id_map).all() and plain.segments == again.segments

    def test_same_result_every_time(self, scenes, coco):
        """Threads share the work in any order; the result must not show it."""
        rng = np.random.default_rng(2)
        geometry = fit((240, 320), (320, 240))
        classes, masks = scenes.class_logits(rng, 40, 40), scenes.noise(rng, 40, (64, 80))
        first = fuse_panoptic(classes, masks, geometry, coco, LOOSE)
        for _ in range(10):
            again = fuse_panoptic(classes, masks, geometry, coco, LOOSE)
            assert (again.id_map == first.id_map).all() and again.segments == first.segments


class TestBrokenNumbers:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("place", [(0, 0), (15, 19), (7, 3)])
    def test_query_with_a_broken_mask_takes_no_part(self, scenes, coco, value, place):
        rng = np.random.default_rng(3)
        classes, masks = scenes.class_logits(rng, 10, 10), scenes.cells(rng, 10, 10, (16, 20))
        geometry = fit((60, 80), (80, 60))  # 64 x 96 padded
        masks = np.pad(masks, ((0, 0), (0, 0), (0, 4)), mode="edge")
        masks[4, place[0] if place[0] < 15 else 14, place[1]] = value
        result = fuse_panoptic(classes, masks, geometry, coco)
        without = np.arange(10) != 4
        expected = fuse_panoptic(classes[without], masks[without], geometry, coco)
        assert (result.id_map == expected.id_map).all()
        assert 4 not in {s.query for s in result.segments}

    def test_broken_padding_does_no_harm(self, scenes, coco):
        rng = np.random.default_rng(3)
        geometry = Letterbox((60, 80), (60, 80), (128, 192))
        classes, masks = scenes.class_logits(rng, 10, 10), scenes.cells(rng, 10, 10, (32, 48))
        expected = fuse_panoptic(classes, masks, geometry, coco)
        masks[:, 20:], masks[:, :, 25:] = np.nan, np.inf
        result = fuse_panoptic(classes, masks, geometry, coco)
        assert (result.id_map == expected.id_map).all()

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_query_with_broken_classes_takes_no_part(self, value):
        classes = toy_logits(0, 1)
        classes[0, 1] = value
        masks = np.ones((2, 4, 4), np.float32)
        result = fuse_panoptic(classes, masks, flat((4, 4)), TOY)
        assert [s.query for s in result.segments] == [1]

    def test_impossible_class_is_only_minus_infinity(self):
        classes = toy_logits(0, 1)
        classes[0, 1] = -np.inf
        result = fuse_panoptic(classes, np.ones((2, 4, 4), np.float32), flat((4, 4)), TOY, LOOSE)
        assert [s.query for s in result.segments] == [0]

    def test_everything_broken(self, coco):
        nothing = np.full((100, 134), np.nan, np.float32), np.full((100, 8, 8), np.nan, np.float32)
        result = fuse_panoptic(*nothing, fit((30, 30), (32, 32)), coco)
        assert result.segments == () and not result.id_map.any()
        sure = np.zeros((100, 134), np.float32)
        sure[:, 3] = 20.0
        assert fuse_panoptic(sure, nothing[1], fit((30, 30), (32, 32)), coco).segments == ()

    def test_huge_logits_do_not_overflow(self):
        masks = np.full((2, 4, 4), 3e38, np.float32)
        masks[1] *= -1.0
        result = fuse_panoptic(toy_logits(0, 0), masks, flat((9, 9), (32, 32)), TOY)
        assert [(s.query, s.area) for s in result.segments] == [(0, 81)]

    def test_noise_ends_in_time(self, scenes, coco):
        rng = np.random.default_rng(4)
        classes, masks = scenes.class_logits(rng, 100, 100), scenes.noise(rng, 100, (90, 160))
        start = time.perf_counter()
        fuse_panoptic(classes, masks, fit((720, 1280), (640, 480)), coco)
        assert time.perf_counter() - start < 5.0  # 0.1 s on two idle cores


GOOD = (toy_logits(0, 1), np.ones((2, 4, 4), np.float32))
BAD = [
    ((GOOD[0].astype(np.float64), GOOD[1]), "class_logits must be a float32"),
    ((GOOD[0], GOOD[1].astype(np.float16)), "mask_logits must be a float32"),
    ((GOOD[0].tolist(), GOOD[1]), "class_logits must be a float32"),
    ((GOOD[0][:, :2], GOOD[1]), r"\(queries, 3\)"),
    ((GOOD[0][0], GOOD[1]), r"\(queries, 3\)"),
    ((GOOD[0], GOOD[1][0]), r"\(queries, h, w\)"),
    ((GOOD[0], GOOD[1][:, :0]), r"\(queries, h, w\)"),
    ((GOOD[0], GOOD[1][None]), r"\(queries, h, w\)"),
    ((GOOD[0], GOOD[1][:1]), "same queries.*2 and 1"),
]


@pytest.mark.parametrize("arrays, message", BAD)
def test_bad_arrays(arrays, message):
    with pytest.raises(ValueError, match=message):
        fuse_panoptic(*arrays, flat((4, 4)), TOY)


def test_too_many_queries():
    arrays = np.zeros((40000, 3), np.float32), np.zeros((40000, 1, 1), np.float32)
    with pytest.raises(ValueError, match="at most 32767"):
        fuse_panoptic(*arrays, flat((4, 4)), TOY)


@pytest.mark.parametrize("name", ["score_threshold", "overlap_threshold"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_bad_thresholds(name, value):
    with pytest.raises(ValueError, match=name):
        FusionConfig(**{name: value})
