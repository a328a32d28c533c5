"""Panoptic fusion against a plain full-resolution implementation, and its own rules."""

from __future__ import annotations

import time

import numpy as np
import pytest

from rmpsam_ros.segmentation.labels import Label, LabelSet
from rmpsam_ros.segmentation.panoptic import (
    FusionConfig,
    PanopticResult,
    Segment,
    fuse_panoptic,
    instance_map,
    semantic_map,
)
from rmpsam_ros.segmentation.preprocess import Geometry, fit
from rmpsam_ros.segmentation.run_length import encode_id_map

TOY = LabelSet("toy", (Label(0, "cup", True, (1, 2, 3)), Label(1, "floor", False, (4, 5, 6))))
LOOSE = FusionConfig(score_threshold=0.5, overlap_threshold=0.0)


def flat(size, mask=None):
    """Geometry of an image that is the network input, masks at `mask` or the same size."""
    padded = mask or size
    return Geometry(size, size, padded)


def toy_logits(*class_ids):
    """Sure class logits (N, 3) of the toy labels; class 2 is "none"."""
    logits = np.zeros((len(class_ids), 3), np.float32)
    logits[np.arange(len(class_ids)), class_ids] = 8.0
    return logits


def check_result(result, size):
    """Everything a segment says about itself must be true of the map."""
    assert result.id_map.dtype == np.uint16 and result.id_map.shape == size
    assert [s.id for s in result.segments] == list(range(1, len(result.segments) + 1))
    assert set(np.unique(result.id_map)) - {0} == {s.id for s in result.segments}
    for segment in result.segments:
        ys, xs = np.nonzero(result.id_map == segment.id)
        assert segment.area == len(ys)
        assert segment.box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


def compare(reference, label_set, class_logits, mask_logits, geometry, config):
    """Equal to the reference except where the reference itself is a matter of rounding."""
    result = fuse_panoptic(class_logits, mask_logits, geometry, label_set, config)
    check_result(result, geometry.image_size)
    expected = reference.panoptic(
        class_logits, mask_logits, geometry, label_set.num_things, config
    )
    semantic = semantic_map(result, label_set).astype(np.int64)
    semantic[semantic == label_set.unlabelled] = label_set.num_classes
    order = {s.id: i for i, s in enumerate((s for s in result.segments if s.is_thing), start=1)}
    different = (semantic != expected.semantic) | (
        instance_map(result, order) != expected.instance
    )
    assert not (different & (expected.margin > 1e-3)).any()
    assert different.sum() <= 1e-4 * different.size + 1
    return result, expected


CASES = [
    # image, limits, queries, kept, kind
    ((480, 640), (640, 480), 40, 20, "cells"),
    ((240, 320), (320, 240), 100, 100, "cells"),
    ((180, 320), (640, 480), 60, 40, "cells"),
    ((241, 319), (640, 480), 30, 12, "cells"),  # the image is smaller than the input
    ((480, 640), (160, 120), 30, 12, "cells"),  # twelve pixels per cell
    ((101, 67), (133, 80), 30, 9, "blobs"),
    ((67, 101), (101, 67), 30, 9, "blobs"),  # the resize changes nothing
    ((33, 31), (1333, 800), 10, 5, "blobs"),  # far more cells than pixels
    ((97, 211), (333, 200), 20, 20, "noise"),
    ((1, 1), (64, 64), 5, 5, "blobs"),
    ((1, 300), (640, 480), 8, 8, "blobs"),
    ((300, 1), (640, 480), 8, 8, "blobs"),
    ((15, 16), (32, 32), 5, 4, "blobs"),
    ((17, 33), (64, 48), 5, 4, "noise"),
    ((120, 160), (160, 120), 1, 1, "blobs"),
    ((120, 160), (160, 120), 30, 2, "cells"),
    ((120, 160), (160, 120), 30, 8, "negative"),
    ((120, 160), (160, 120), 30, 8, "saturated"),
    ((120, 160), (160, 120), 30, 8, "abyss"),
]


@pytest.mark.parametrize("image, limits, queries, kept, kind", CASES)
@pytest.mark.parametrize("filtered", [True, False])
def test_equals_reference(reference, scenes, coco, image, limits, queries, kept, kind, filtered):
    rng = np.random.default_rng(sum(image) + 1000 * kept + len(kind))
    geometry = fit(image, limits)
    size = (geometry.padded_size[0] // 4, geometry.padded_size[1] // 4)
    make = {
        "cells": lambda: scenes.cells(rng, queries, kept, size),
        "blobs": lambda: scenes.blobs(rng, queries, size),
        "noise": lambda: scenes.noise(rng, queries, size),
        "negative": lambda: scenes.blobs(rng, queries, size, offset=-12.0, scale=2.0),
        "saturated": lambda: scenes.blobs(rng, queries, size, scale=60.0),
        "abyss": lambda: scenes.blobs(rng, queries, size, offset=-120.0, scale=20.0),
    }
    class_logits = scenes.class_logits(rng, queries, kept)
    config = FusionConfig(overlap_threshold=0.4, filter_low_score=filtered)
    compare(reference, coco, class_logits, make[kind](), geometry, config)


@pytest.mark.parametrize("seed", range(40))
def test_equals_reference_on_random_sizes(reference, scenes, coco, seed):
    rng = np.random.default_rng(seed)
    image = tuple(int(side) for side in rng.integers(1, 140, 2))
    padded = tuple(32 * int(side) for side in rng.integers(1, 6, 2))
    resized = tuple(int(rng.integers(max(1, side - 31), side + 1)) for side in padded)
    size = tuple(max(1, int(side // rng.choice([1, 2, 4, 8]))) for side in padded)
    kept = int(rng.integers(1, 30))
    logits = scenes.blobs(rng, kept + 5, size, scale=rng.uniform(0.5, 15.0))
    geometry = Geometry(image, resized, padded)
    config = FusionConfig(0.5, rng.uniform(0.0, 0.6), bool(rng.integers(2)))
    class_logits = scenes.class_logits(rng, kept + 5, kept)
    compare(reference, coco, class_logits, logits, geometry, config)


GOLDEN = [
    # case, configuration, at the original size
    ("default", FusionConfig(), True),
    ("low_thr", FusionConfig(score_threshold=0.5, overlap_threshold=0.5), True),
    ("no_filter", FusionConfig(filter_low_score=False), True),
    ("no_rescale", FusionConfig(), False),
    ("nothing", FusionConfig(score_threshold=0.9999), True),
]


@pytest.mark.parametrize("name, config, rescale", GOLDEN, ids=[case[0] for case in GOLDEN])
def test_official_output(golden, cases, coco, name, config, rescale):
    arrays, facts = golden("fusion_postprocess"), cases["fusion_postprocess"]
    resized = tuple(facts["img_shape"])
    image = tuple(facts["ori_shape"]) if rescale else resized
    masks = arrays["mask_pred"]
    result = fuse_panoptic(
        arrays["mask_cls"], masks, Geometry(image, resized, masks.shape[1:]), coco, config
    )
    check_result(result, image)
    expected = arrays[f"{name}.panoptic"]
    things = (s for s in result.segments if s.is_thing)
    values = np.full(len(result.segments) + 1, coco.num_classes)
    for segment in result.segments:
        values[segment.id] = segment.class_id
    for number, segment in enumerate(things, start=1):
        values[segment.id] += 1000 * number
    assert (values[result.id_map] != expected).sum() <= 3
    stored = {s["id"]: s["area"] for s in facts["segments"][name]}
    areas = {int(values[s.id]): s.area for s in result.segments}
    assert areas.keys() == stored.keys()
    assert all(abs(areas[key] - stored[key]) <= 3 for key in stored)


def test_golden_account_of_every_query(golden, cases, coco):
    arrays, facts = golden("fusion_postprocess"), cases["fusion_postprocess"]
    masks = arrays["mask_pred"]
    geometry = Geometry(tuple(facts["ori_shape"]), tuple(facts["img_shape"]), masks.shape[1:])
    result = fuse_panoptic(arrays["mask_cls"], masks, geometry, coco)
    survivors = {row["query"]: row for row in facts["default_account"] if row["outcome"] == "kept"}
    stuff = {}
    for query, row in survivors.items():
        if row["label"] >= 80:
            stuff.setdefault(row["label"], []).append(query)
    merged = {query for group in stuff.values() for query in group[1:]}
    assert {s.query for s in result.segments} >= {
        query
        for query in survivors
        if query not in merged and len(stuff.get(survivors[query]["label"], [])) <= 1
    }
    for segment in result.segments:
        row = survivors[segment.query]
        assert segment.class_id == row["label"]
        assert segment.score == pytest.approx(row["score"], abs=1e-4)


def test_kept_classes_of_the_network(golden, cases, coco):
    """Nothing official survives that this implementation's score test would not let through."""
    arrays = golden("panoptic_e2e_r50")
    facts = cases["panoptic_e2e_r50"]
    rng = np.random.default_rng(0)
    logits = rng.normal(0.0, 3.0, (100, 32, 48)).astype(np.float32)
    geometry = Geometry((150, 225), (120, 180), (128, 192))
    for name, config in (("default", 0.8), ("loose", 0.2)):
        result = fuse_panoptic(
            arrays["final.cls"], logits, geometry, coco, FusionConfig(config, 0.0)
        )
        official = {row["category"] for row in facts[f"{name}_segments"]}
        assert official <= {s.class_id for s in result.segments}


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
        geometry = Geometry((60, 80), (60, 80), (128, 192))
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


class TestMaps:
    result = PanopticResult(
        np.array([[0, 1, 1], [2, 2, 3]], np.uint16),
        (
            Segment(1, 0, True, 0.9, 2, (1, 0, 3, 1), 7),
            Segment(2, 1, False, 0.9, 2, (0, 1, 2, 2), 3),
            Segment(3, 0, True, 0.9, 1, (2, 1, 3, 2), 9),
        ),
    )

    def test_semantic(self):
        values = semantic_map(self.result, TOY)
        assert values.dtype == np.uint8
        assert values.tolist() == [[255, 0, 0], [1, 1, 0]]

    def test_semantic_of_many_classes(self):
        many = LabelSet("many", tuple(Label(i, str(i), i < 1, (0, 0, 0)) for i in range(300)))
        values = semantic_map(self.result, many)
        assert values.dtype == np.uint16
        assert values.tolist() == [[65535, 0, 0], [1, 1, 0]]

    @pytest.mark.parametrize(
        "ids, expected",
        [
            (None, [[0, 1, 1], [0, 0, 3]]),
            ({1: 40, 3: 65535}, [[0, 40, 40], [0, 0, 65535]]),
            ({3: 5, 2: 9}, [[0, 0, 0], [0, 0, 5]]),
            ({}, [[0, 0, 0], [0, 0, 0]]),
        ],
    )
    def test_instance(self, ids, expected):
        values = instance_map(self.result, ids)
        assert values.dtype == np.uint16 and values.tolist() == expected

    @pytest.mark.parametrize("value", [0, -1, 65536])
    def test_instance_value_that_does_not_fit(self, value):
        with pytest.raises(ValueError, match="1 to 65535"):
            instance_map(self.result, {1: value})


class TestPainting:
    """Images of a result, whether it holds its map or the runs of it."""

    ID_MAP = np.array([[0, 1, 1], [1, 2, 3]], np.uint16)
    RESULTS = (
        PanopticResult(ID_MAP, ()),
        PanopticResult.from_runs(encode_id_map(ID_MAP), (2, 3), ()),
    )

    @pytest.mark.parametrize("result", RESULTS)
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_table_entries_of_all_pixels(self, result, dtype):
        table = np.array([9, 8, 7, 6], dtype)
        out = np.zeros((2, 3), dtype)
        assert result.painted(table, out) is out
        np.testing.assert_array_equal(out, table[self.ID_MAP])
        np.testing.assert_array_equal(result.painted(table), out)

    @pytest.mark.parametrize("result", RESULTS)
    def test_map_and_runs_say_the_same(self, result):
        assert result.size == (2, 3)
        np.testing.assert_array_equal(result.id_map, self.ID_MAP)
        ids, lengths = result.runs
        assert ids.tolist() == [0, 1, 2, 3] and lengths.tolist() == [1, 3, 1, 1]

    @pytest.mark.parametrize(
        "out",
        [
            np.zeros((2, 3), np.uint16),
            np.zeros((3, 2), np.uint8),
            np.zeros((2, 6), np.uint8)[:, ::2],
        ],
    )
    def test_refuses_another_image(self, out):
        with pytest.raises(ValueError, match=r"out must be uint8 \(2, 3\), C-contiguous"):
            self.RESULTS[0].painted(np.zeros(4, np.uint8), out)
