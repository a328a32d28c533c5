"""Masks of everything: boxes from object queries, and which masks say the same."""

import time

import numpy as np
import pytest

from rmpsam_ros.pipeline import NoFrameError
from rmpsam_ros.prompting import segment_everything
from rmpsam_ros.prompting.answers import FoundMask
from rmpsam_ros.prompting.grid_prompts import _spread
from rmpsam_ros.prompting.query_masks import pack_queries
from rmpsam_ros.prompting.segment_everything import coarse_cells, distinct_masks
from rmpsam_ros.prompting.steps import finished
from rmpsam_ros.runtime import ObjectOutput
from rmpsam_ros.segmentation.preprocess import Letterbox, fit
from rmpsam_ros.segmentation.prompt_types import PromptError
from rmpsam_ros.segmentation.run_length import decode_mask, encode_mask
from rmpsam_ros.tracking.prompted_records import PromptState


def output(objectness, blocks, grid=(24, 32)):
    """Queries with these probabilities and blocks of mask cells (top, left, bottom, right)."""
    classes = np.zeros((len(objectness), 4), np.float32)
    classes[:, -1] = np.log((1 - np.array(objectness)) / np.array(objectness)) + np.log(3)
    masks = np.full((len(objectness), *grid), -3.0, np.float32)
    for mask, (top, left, bottom, right) in zip(masks, blocks, strict=True):
        mask[top:bottom, left:right] = 3.0
    return ObjectOutput(classes, masks, np.zeros((len(objectness), 256), np.float32))


def test_boxes_of_queries_by_objectness_in_image_pixels():
    geometry = fit((192, 256), (128, 96))  # half size
    objects = output(
        [0.5, 0.9, 0.05, 0.8], [(0, 0, 4, 4), (10, 20, 12, 30), (1, 1, 9, 9), (3, 3) * 2]
    )
    queries = pack_queries(objects, objects.queries)
    np.testing.assert_allclose(queries.objectness, [0.5, 0.9, 0.05, 0.8], atol=1e-5)
    boxes = queries.boxes(geometry, 0.1)
    np.testing.assert_allclose(boxes, [[160, 80, 240, 96], [0, 0, 32, 32]])
    assert queries.boxes(geometry, 0.95).shape == (0, 4)
    assert queries.nbytes < objects.mask_logits.nbytes / 25 + objects.queries.nbytes


def test_the_padding_is_no_part_of_a_box():
    geometry = Letterbox((90, 120), (90, 120), (96, 128))
    objects = output([0.9, 0.9], [(0, 0, 24, 32), (23, 31, 24, 32)])
    boxes = pack_queries(objects, objects.queries).boxes(geometry, 0.1)
    np.testing.assert_allclose(boxes, [[0, 0, 120, 90]])


def test_every_large_part_of_a_query_has_its_box_and_stray_cells_have_none():
    geometry = fit((192, 256), (128, 96))
    objects = output([0.5, 0.9], [(0, 0, 8, 8), (20, 0, 24, 6)])
    objects.mask_logits[0, 12:18, 12:18] = 3.0  # a second object of the same query
    objects.mask_logits[0, 23, 31] = 3.0  # a stray cell in the corner
    objects.mask_logits[0, 8, 8] = 3.0  # touches the first by its corner
    boxes = pack_queries(objects, objects.queries).boxes(geometry, 0.1)
    expected = [[0, 160, 48, 192], [0, 0, 72, 72], [96, 96, 144, 144]]
    np.testing.assert_allclose(boxes, expected)


def test_a_query_of_crumbs_has_a_few_boxes_only():
    objects = output([0.9], [(0, 0, 0, 0)])
    objects.mask_logits[0, ::2, ::2] = 3.0
    boxes = pack_queries(objects, objects.queries).boxes(fit((192, 256), (128, 96)), 0.1)
    assert boxes.shape == (4, 4)


@pytest.mark.parametrize("size", [(60, 80), (480, 640), (1081, 1921)])
def test_masks_that_say_the_same_are_given_once(size):
    height, width = size

    def block(x_min, x_max, score):
        mask = np.zeros(size, bool)
        mask[height // 4 : height // 2, int(x_min * width) : int(x_max * width)] = True
        return FoundMask(encode_mask(mask), score)

    found = [block(0, 0.5, 0.7), block(0, 0.51, 0.8), block(0.5, 1, 0.6), block(0, 0.25, 0.9)]
    kept = distinct_masks(found, 0.8)
    assert [one.score for one in kept] == [0.9, 0.8, 0.6]
    assert distinct_masks([], 0.8) == []


@pytest.mark.parametrize("size", [(60, 80), (161, 90), (480, 640), (1081, 1921)])
def test_masks_are_compared_at_the_pixels_of_one_grid(size):
    rng = np.random.default_rng(0)
    mask = np.zeros(size, bool)
    mask[size[0] // 7 : size[0] // 2, size[1] // 9 : size[1] // 3] = True
    mask &= rng.random(size) < 0.5
    stride = -(-max(size) // 160)
    np.testing.assert_array_equal(
        coarse_cells(encode_mask(mask)), mask[::stride, ::stride].ravel()
    )


@pytest.fixture(params=["rmpsam", "beside"])
def pipeline(request, make_pipeline, beside):
    return make_pipeline(beside if request.param == "beside" else None)


def test_everything_is_found_largest_first(pipeline, blocks, colors):
    with pytest.raises(NoFrameError):
        pipeline.prompts.segment_everything()
    image = blocks((8, 40, 16, colors[0]), (60, 40, 48, colors[1]), (140, 40, 32, colors[2]))
    pipeline.process(image, 1.0)
    pipeline.process(blocks(), 1.1)
    assert pipeline.prompts.segment_everything() == ()
    found = pipeline.prompts.segment_everything(stamp=1.0)
    assert [one.mask.box[0] for one in found] == pytest.approx([60, 140, 8], abs=2)
    for one in found:
        assert (one.object_id, one.state, one.stamp) == ("", PromptState.SINGLE, 1.0)
        assert decode_mask(one.mask).shape == (128, 192) and 0.5 <= one.score <= 1.0
    assert pipeline.prompts.objects() == ()


def test_a_grid_of_points_finds_the_same(pipeline, blocks, colors):
    pipeline.process(blocks((60, 40, 48, colors[1]), (140, 40, 32, colors[2])), 1.0)
    found = pipeline.prompts.segment_everything(points_per_side=12)
    assert [one.mask.box[0] for one in found] == pytest.approx([60, 140], abs=2)


@pytest.mark.parametrize("grid", [0, 12])
def test_everything_in_steps_is_the_same(pipeline, blocks, colors, grid):
    pipeline.process(blocks((60, 40, 48, colors[1]), (140, 40, 32, colors[2])), 1.0)
    steps = pipeline.prompts.everything_steps(points_per_side=grid)
    next(steps)
    pipeline.process(blocks(), 1.1)  # what happens between two steps does not matter
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found = end.value
            break
    assert found.complete and found.stamp == 1.0
    found = found.masks
    assert [one.stamp for one in found] == [1.0, 1.0]
    assert [one.mask.box[0] for one in found] == pytest.approx([60, 140], abs=2)


@pytest.mark.parametrize(
    ("quick", "steps"), [(1e9, [4, 16, 16, 6]), (0.0, [4] * 10 + [2])], ids=["quick", "slow"]
)
def test_no_step_asks_for_many_boxes(
    make_pipeline, network, blocks, colors, monkeypatch, quick, steps
):
    """Whoever waits between two steps waits for a few boxes only, fewer where they take long."""
    monkeypatch.setattr(segment_everything, "_QUICK", quick)
    pipeline = make_pipeline()
    network.num_queries = 60
    squares = [(32 * (k % 6), 16 * (k // 6), 12, colors[0]) for k in range(42)]
    pipeline.process(blocks(*squares), 1.0)
    number = sum(1 for _ in pipeline.prompts.everything_steps())
    assert number == len(steps)
    assert [len(one) for one in network.asked] == steps


def test_when_the_time_is_over_the_surest_have_been_asked_for(
    make_pipeline, network, blocks, colors
):
    pipeline = make_pipeline()
    network.num_queries = 60
    squares = [(32 * (k % 6), 16 * (k // 6), 12, colors[0]) for k in range(42)]
    pipeline.process(blocks(*squares), 1.0)
    all_of_it = finished(pipeline.prompts.everything_steps())
    assert all_of_it.complete and all_of_it.stamp == 1.0
    network.asked.clear()
    part = finished(pipeline.prompts.everything_steps(until=time.monotonic() - 1.0))
    assert not part.complete
    assert [len(one) for one in network.asked] == [4], "the first boxes are always asked"
    assert 0 < len(part.masks) < len(all_of_it.masks)


def reported(prompts, grid, **options):
    """All that is told of the search, and its result."""
    told = []
    return told, finished(prompts.everything_steps(None, grid, report=told.append, **options))


@pytest.mark.parametrize("grid", [0, 12])
def test_masks_are_told_once_as_they_are_found(
    pipeline, network, blocks, colors, grid, monkeypatch
):
    monkeypatch.setattr(segment_everything, "_QUICK", 1e9)
    network.num_queries = 60
    squares = [(32 * (k % 6), 24 * (k // 6), 20, colors[0]) for k in range(24)]
    pipeline.process(blocks(*squares), 1.0)
    told, found = reported(pipeline.prompts, grid)
    assert found.complete and len(found.masks) == 24
    assert [one.done for one in told] == ([64, 128, 144] if grid else [4, 20, 24])
    assert {one.total for one in told} == {144 if grid else 24} and {
        one.stamp for one in told
    } == {1.0}
    boxes = [mask.mask.box for one in told for mask in one.masks]
    assert sorted(boxes) == sorted(one.mask.box for one in found.masks), "each once"
    assert all(mask.stamp == 1.0 for one in told for mask in one.masks)
    untold = finished(pipeline.prompts.everything_steps(None, grid)).masks
    assert [one.mask.box for one in untold] == [one.mask.box for one in found.masks]


@pytest.mark.parametrize("grid", [0, 12])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_cancelled_search_asks_for_nothing_more(pipeline, network, blocks, colors, grid, after):
    network.num_queries = 60
    squares = [(32 * (k % 6), 24 * (k // 6), 20, colors[0]) for k in range(24)]
    pipeline.process(blocks(*squares), 1.0)
    told = []
    steps = pipeline.prompts.everything_steps(
        None, grid, report=told.append, cancelled=lambda: len(told) >= after
    )
    found = finished(steps)
    assert len(told) == after and not found.complete
    assert found.stamp == 1.0 and bool(found.masks) == bool(after)


def test_nothing_to_be_found_is_complete(pipeline, blocks):
    pipeline.process(blocks(), 1.0)
    told, found = reported(pipeline.prompts, 0)
    assert (told, found.masks, found.complete) == ([], (), True)


def test_a_grid_that_ends_early_has_looked_everywhere(pipeline, blocks, colors):
    corners = [(8, 8), (150, 8), (8, 70), (150, 70)]
    pipeline.process(
        blocks(*((x, y, 32, colors[1 + k % 2]) for k, (x, y) in enumerate(corners))), 1.0
    )
    part = finished(
        pipeline.prompts.everything_steps(points_per_side=48, until=time.monotonic() - 1.0)
    )
    assert not part.complete


@pytest.mark.parametrize("number", [1, 2, 4, 9, 16, 36, 1024, 4096])
def test_the_points_of_a_grid_are_asked_far_apart_and_once(number):
    order = _spread(number)
    assert sorted(order) == list(range(number))
    if number >= 1024:
        side = round(number**0.5)
        rows = order[:64] // side
        assert rows.min() < side // 8 and rows.max() >= side - side // 8


@pytest.mark.parametrize("side", [-1, 65, 10**9])
def test_a_grid_too_fine_is_refused(pipeline, blocks, side):
    pipeline.process(blocks(), 1.0)
    with pytest.raises(PromptError, match="points_per_side"):
        pipeline.prompts.segment_everything(points_per_side=side)


def test_poor_masks_are_left_out(make_pipeline, network, blocks, colors):
    pipeline = make_pipeline()
    pipeline.process(blocks((60, 40, 48, colors[1])), 1.0)
    network.iou = 0.3
    assert pipeline.prompts.segment_everything() == ()
