"""Panoptic fusion against a plain full-resolution implementation and official outputs."""

from __future__ import annotations

import numpy as np
import pytest

from rmpsam_ros.segmentation.panoptic import (
    FusionConfig,
    fuse_panoptic,
    instance_map,
    semantic_map,
)
from rmpsam_ros.segmentation.preprocess import Letterbox, fit


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
    geometry = Letterbox(image, resized, padded)
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
        arrays["mask_cls"], masks, Letterbox(image, resized, masks.shape[1:]), coco, config
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
    geometry = Letterbox(tuple(facts["ori_shape"]), tuple(facts["img_shape"]), masks.shape[1:])
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
    geometry = Letterbox((150, 225), (120, 180), (128, 192))
    for name, config in (("default", 0.8), ("loose", 0.2)):
        result = fuse_panoptic(
            arrays["final.cls"], logits, geometry, coco, FusionConfig(config, 0.0)
        )
        official = {row["category"] for row in facts[f"{name}_segments"]}
        assert official <= {s.class_id for s in result.segments}
