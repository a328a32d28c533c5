"""What is done to a fused result beside the official rules, against a reference pixel by pixel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rmpsam_ros import _native
from rmpsam_ros.pipeline import PipelineConfig
from rmpsam_ros.segmentation.labels import Label, LabelSet
from rmpsam_ros.segmentation.panoptic import FusionConfig, fuse_panoptic
from rmpsam_ros.segmentation.preprocess import fit
from rmpsam_ros.segmentation.results import PanopticResult, Segment
from rmpsam_ros.segmentation.tidying import TidyConfig, joined_things, only, overlaps_of, tidied

LABELS = LabelSet(
    "toy",
    (
        Label(0, "cat", True, (1, 2, 3)),
        Label(1, "dog", True, (4, 5, 6)),
        Label(2, "road", False, (7, 8, 9)),
        Label(3, "sky", False, (9, 8, 7)),
    ),
)


def result_of(ids, things):
    """A result with one segment for every id from 1, those in ``things`` being things."""
    ids = np.array(ids, np.uint16)
    segments = []
    for key in range(1, int(ids.max()) + 1):
        rows, columns = np.nonzero(ids == key)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        segments.append(Segment(key, key, key in things, 0.5, len(rows), box, key))
    return PanopticResult(ids, tuple(segments))


def picture(text):
    return [[int(sign) for sign in line] for line in text.split()]


RULES = [
    # id map, things, rules, what is left
    ("11011 11000", {1}, {"min_piece": 0.4}, "11011 11000"),  # the smaller part has a half
    ("11011 11000", {1}, {"min_piece": 0.6}, "11000 11000"),
    ("11011 11000", (), {"min_piece": 0.6}, "11011 11000"),  # stuff has parts
    ("11000 00100", {1}, {"min_piece": 0.9}, "11000 00100"),  # neighbours at a corner
    ("1222 2222", {1}, {"min_area": 0.2}, "0111 1111"),  # and numbered anew
    ("1222 2222", {1}, {"min_area": 0.125}, "1222 2222"),  # just as large as that
    ("11112 11111", (), {"max_speck": 0.1}, "11111 11111"),
    ("11112 11111", {2}, {"max_speck": 0.1}, "11112 11111"),  # a thing is no speck
    ("11122 11111", (), {"max_speck": 0.1}, "11122 11111"),
    ("111 101 112", {1, 2}, {"max_hole": 0.12}, "111 111 112"),
    ("1112 1002 1112", {1, 2}, {"max_hole": 0.2}, "1112 1112 1112"),  # the longer border
    ("110 101 111", {1}, {"max_hole": 0.12}, "111 111 111"),  # two holes that touch at a corner
    ("12 00", {1, 2}, {"max_hole": 0.5}, "12 11"),  # of equal borders the first segment
]


@pytest.mark.parametrize("before, things, rules, after", RULES)
def test_rule(before, things, rules, after):
    result = tidied(result_of(picture(before), things), TidyConfig(**rules))
    assert result.id_map.tolist() == picture(after)


@pytest.mark.parametrize("seed", range(60))
def test_equals_reference(reference, seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 40, 2)
    coarse = rng.integers(0, rng.integers(2, 7), (-(-height // 3), -(-width // 3)))
    ids = np.kron(coarse, np.ones((3, 3), int))[:height, :width]
    noise = rng.random(ids.shape) < rng.uniform(0, 0.3)
    ids[noise] = rng.integers(0, ids.max() + 1, noise.sum())
    ids = np.unique(np.append(ids.ravel(), 0), return_inverse=True)[1][:-1].reshape(ids.shape)
    if not ids.any():
        ids[0, 0] = 1
    things = set(rng.permutation(ids.max())[: ids.max() // 2] + 1)
    config = TidyConfig(
        min_piece=rng.choice([0, 0.3, 0.8]),
        min_area=rng.choice([0, 0.01, 0.1]),
        max_speck=rng.choice([0, 0.005, 0.05]),
        max_hole=rng.choice([0, 0.005, 0.05]),
    )
    result = tidied(result_of(ids, things), config)
    is_thing = [key in things for key in range(ids.max() + 1)]
    expected = reference.tidied(ids, is_thing, config)
    kept = [key for key in np.unique(expected) if key]
    assert [segment.query for segment in result.segments] == kept
    assert [segment.id for segment in result.segments] == list(range(1, len(kept) + 1))
    np.testing.assert_array_equal(result.id_map, np.searchsorted([0, *kept], expected))
    for segment in result.segments:
        rows, columns = np.nonzero(result.id_map == segment.id)
        assert segment.area == len(rows)
        edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert segment.box == edges


def test_nothing_is_tidied_by_default(scenes, coco):
    """The official post-processing is what zeros give: no rule beside it, the goldens' tests."""
    assert FusionConfig().tidy == TidyConfig(False, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert not TidyConfig().changes_segments
    result = result_of(picture("1021 0101 2220"), {1})
    assert tidied(result, TidyConfig()) is result


def test_the_pipeline_tidies_by_default():
    tidy = PipelineConfig().fusion.tidy
    assert tidy.any_thing and tidy.changes_segments and 0 < tidy.duplicate_iou < 1


@pytest.mark.parametrize("seed", range(10))
def test_overlaps(seed):
    rng = np.random.default_rng(seed)
    geometry = fit(tuple(rng.integers(20, 300, 2)), (192, 128))
    size = tuple(side // 4 for side in geometry.padded_size)
    logits = rng.normal(size=(9, *size)).astype(np.float32)
    queries = np.sort(rng.permutation(9)[:6]).astype(np.int32)
    logits[queries[2], 0, 0] = rng.choice([np.nan, np.inf, -np.inf])
    logits[queries[3], -1, -1] = 0.0
    height, width = (round(side / 4) for side in geometry.resized_size)
    masks = (logits[queries, :height, :width] > 0).reshape(6, -1).astype(int)
    shared, finite, cells = overlaps_of(logits, queries, geometry)
    assert cells == height * width
    assert finite.tolist() == [True, True, False, True, True, True]
    np.testing.assert_array_equal(shared, masks @ masks.T)


def band(first, last, height=32, width=64):
    """A mask of the columns from first to last."""
    logits = np.full((height, width), -8.0, np.float32)
    logits[:, first:last] = 8.0
    return logits


def logits_for(*rows):
    """Class logits of queries from (class, probability of it, of the others) each."""
    table = np.full((len(rows), 5), 1e-6)
    for row, probabilities in zip(table, rows, strict=True):
        for index, value in probabilities.items():
            row[index] = value
        row[4] += 1 - row.sum()
    return np.log(table).astype(np.float32)


def fused(classes, masks, **rules):
    config = FusionConfig(0.3, 0.3, tidy=TidyConfig(**rules))
    return fuse_panoptic(classes, np.stack(masks), fit((128, 256), (256, 128)), LABELS, config)


def test_of_duplicates_the_better_one_takes_part():
    masks = [band(0, 30), band(0, 32), band(0, 31), band(40, 64)]
    classes = logits_for({0: 0.5}, {1: 0.8}, {2: 0.9}, {0: 0.6})
    assert [s.query for s in fused(classes, masks, duplicate_iou=0.5).segments] == [2, 3]
    apart = fused(classes[[0, 1, 3]], [masks[0], masks[1], masks[3]], duplicate_iou=0.5)
    assert [(s.query, s.class_id) for s in apart.segments] == [(1, 1), (2, 0)]
    kept = fused(classes[:2], [band(0, 15), band(0, 32)], duplicate_iou=0.5)
    assert [s.query for s in kept.segments] == [1]  # not repeated (IoU 0.47), but covered


def test_a_query_without_finite_logits_suppresses_none():
    masks = [band(0, 30), band(0, 30)]
    masks[0][3, 5] = np.inf
    result = fused(logits_for({0: 0.9}, {1: 0.5}), masks, duplicate_iou=0.5)
    assert [segment.query for segment in result.segments] == [1]


def test_things_get_a_bonus():
    classes, masks = logits_for({0: 0.6}, {2: 0.9}), [band(0, 20), band(0, 64)]
    assert [segment.query for segment in fused(classes, masks).segments] == [1]
    result = fused(classes, masks, thing_bonus=1.0)
    assert [segment.query for segment in result.segments] == [0, 1]
    assert result.segments[0].score == pytest.approx(0.6, abs=1e-4)


def test_small_things_lie_on_large_ones():
    classes, masks = logits_for({0: 0.6}, {1: 0.9}), [band(0, 6), band(0, 64)]
    assert [segment.query for segment in fused(classes, masks).segments] == [1]
    both = fused(classes, masks, small_first=0.3)
    assert [(s.query, s.area) for s in both.segments] == [(0, 128 * 24), (1, 128 * 232)]
    # Things of a tenth of the image compete with stuff by their scores.
    stuff = logits_for({0: 0.6}, {2: 0.9})
    wide = [band(0, 8), band(0, 64)]
    assert [s.query for s in fused(stuff, wide, small_first=0.3).segments] == [1]
    assert [s.query for s in fused(stuff, masks, small_first=1.0).segments] == [1]
    small = [band(0, 4), band(0, 64)]
    assert [s.query for s in fused(stuff, small, small_first=1.0).segments] == [0, 1]


def test_the_score_of_any_thing():
    classes, masks = logits_for({0: 0.25, 1: 0.35, 2: 0.1}), [band(0, 20)]
    assert fused(classes, masks).segments[0].score == pytest.approx(0.35, abs=1e-4)
    segment = fused(classes, masks, any_thing=True).segments[0]
    assert (segment.class_id, segment.score) == (1, pytest.approx(0.6, abs=1e-4))
    doubtful = logits_for({0: 0.25, 1: 0.2})  # nothing: 0.55
    assert fused(doubtful, masks).segments == ()
    assert [s.class_id for s in fused(doubtful, masks, any_thing=True).segments] == [0]
    stuff = joined_things(np.array([[0.2, 0.2, 0.5, 0.0, 0.1]], np.float32), LABELS)
    np.testing.assert_allclose(stuff, [[0.4, 0, 0.5, 0, 0.1]], atol=1e-6)


def test_classes_that_are_not_reported_still_count():
    """What is reported of one class does not depend on which others are."""
    classes, masks = logits_for({0: 0.9}, {2: 0.9}), [band(0, 3), band(3, 64)]
    config = FusionConfig(0.3, 0.3, tidy=TidyConfig(max_hole=0.2))
    arrays = classes, np.stack(masks), fit((128, 256), (256, 128)), LABELS
    whole = fuse_panoptic(*arrays, config)
    cats = fuse_panoptic(*arrays, replace(config, class_ids=frozenset({0})))
    assert len(whole.segments) == 2 and len(cats.segments) == 1
    np.testing.assert_array_equal(cats.id_map, np.where(whole.id_map == 1, 1, 0))


def test_only_some_segments():
    result = result_of(picture("1122 3300"), {1})
    some = only(result, [result.segments[0], result.segments[2]])
    assert some.id_map.tolist() == picture("1100 2200")
    assert [(s.id, s.query) for s in some.segments] == [(1, 1), (2, 3)]
    assert only(result, result.segments) is result


@pytest.mark.parametrize(
    "values", [{"min_piece": 1.1}, {"max_hole": -0.1}, {"thing_bonus": 11.0}, {"min_area": np.nan}]
)
def test_settings_out_of_range(values):
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be from 0 to 1"):
        TidyConfig(**values)


@pytest.mark.parametrize("lengths", [[5], [7], [6, 1], [3, 2]])
def test_runs_that_do_not_fill_the_map_are_refused(lengths):
    runs = np.zeros(len(lengths), np.uint16), np.array(lengths, np.uint32)
    with pytest.raises(ValueError, match="inconsistent"):
        _native.tidy_runs(runs, (2, 3), np.zeros(1, np.bool_), 0.3, 0, 0, 0)


def test_labels_without_an_entry_are_refused():
    runs = np.array([2], np.uint16), np.array([6], np.uint32)
    with pytest.raises(ValueError, match="inconsistent"):
        _native.tidy_runs(runs, (2, 3), np.zeros(2, np.bool_), 0.3, 0, 0, 0)
