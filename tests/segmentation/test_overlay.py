"""The overlay: tint and contours exactly, captions where they can be read."""

from __future__ import annotations

import numpy as np
import pytest

from rmpsam_ros.segmentation.overlay import OPACITY, draw_overlay, segment_color
from rmpsam_ros.segmentation.results import PanopticResult, Segment


def result_of(id_map, classes):
    """A result whose segment k + 1 has classes[k]."""
    segments = []
    for segment_id, class_id in enumerate(classes, start=1):
        ys, xs = np.nonzero(id_map == segment_id)
        box = (0, 0, 0, 0)
        if len(ys):
            box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
        segments.append(Segment(segment_id, class_id, class_id < 80, 0.9, len(ys), box, 0))
    return PanopticResult(id_map.astype(np.uint16), tuple(segments))


def plain_tint(image, result, labels):
    colors = np.array([(0, 0, 0)] + [labels.labels[s.class_id].color for s in result.segments])
    ids = result.id_map.astype(int)
    mixed = (image.astype(int) * (256 - OPACITY) + colors[ids] * OPACITY + 128) >> 8
    padded = np.pad(ids, 1, mode="edge")
    edge = np.zeros(ids.shape, bool)
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        edge |= padded[dy : dy + ids.shape[0], dx : dx + ids.shape[1]] != ids
    out = np.where((ids > 0)[..., None], mixed, image)
    return np.where((edge & (ids > 0))[..., None], colors[ids], out).astype(np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (12, 7), (16, 17), (9, 30)])
def test_tint_and_contours(coco, size):
    """Too small for captions, so every pixel is known."""
    rng = np.random.default_rng(sum(size))
    image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    for blocks in (1, 4, 9):
        id_map = np.kron(rng.integers(0, 4, (30, 30)), np.ones((blocks, blocks), int))
        result = result_of(id_map[: size[0], : size[1]], [0, 90, 132])
        out = draw_overlay(image, result, coco)
        np.testing.assert_array_equal(out, plain_tint(image, result, coco))


def test_long_runs_are_tinted_like_short_ones(coco):
    image = np.random.default_rng(0).integers(0, 256, (8, 640, 3)).astype(np.uint8)
    result = result_of(np.ones((8, 640), int), [5])
    expected = plain_tint(image, result, coco)
    np.testing.assert_array_equal(draw_overlay(image, result, coco), expected)


def test_input_is_not_changed_and_strides_do_not_matter(coco):
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    id_map = np.zeros((60, 80), int)
    id_map[10:50, 10:70] = 1
    result = result_of(id_map, [0])
    before = image.copy()
    out = draw_overlay(image, result, coco)
    assert (image == before).all() and not np.shares_memory(out, image)
    again = draw_overlay(np.asfortranarray(image), result, coco)
    assert (again == out).all()


def caption_box(canvas, tinted):
    ys, xs = np.nonzero((canvas != tinted).any(axis=2))
    return (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(ys) else None


def test_caption_lies_in_its_segment(coco):
    image = np.full((200, 300, 3), 128, np.uint8)
    id_map = np.zeros((200, 300), int)
    id_map[20:90, 150:290] = 1
    result = result_of(id_map, [0])
    x_min, y_min, x_max, y_max = caption_box(
        draw_overlay(image, result, coco), plain_tint(image, result, coco)
    )
    assert 150 <= x_min < x_max <= 290 and 20 <= y_min < y_max <= 90
    assert abs((x_min + x_max) / 2 - 220) < 20 and abs((y_min + y_max) / 2 - 55) < 20


def test_caption_names_the_track(coco):
    image = np.full((100, 200, 3), 128, np.uint8)
    result = result_of(np.ones((100, 200), int), [0])
    widths = []
    for tracks in (None, {1: 7}, {1: 123456}):
        canvas = draw_overlay(image, result, coco, tracks)
        color = segment_color(result.segments[0], coco, tracks and tracks[1])
        mixed = (image[0, 0].astype(int) * (256 - OPACITY) + np.array(color) * OPACITY + 128) >> 8
        box = caption_box(canvas, np.broadcast_to(mixed.astype(np.uint8), canvas.shape))
        widths.append(box[2] - box[0])
    assert widths[0] < widths[1] < widths[2]


def test_captions_do_not_cover_each_other(coco):
    """Sixty segments of six pixels: most captions are left out, and nothing breaks."""
    id_map = np.repeat(np.arange(1, 61), 6 * 300).reshape(360, 300)
    result = result_of(id_map, [0] * 60)
    canvas = draw_overlay(np.zeros((360, 300, 3), np.uint8), result, coco)
    assert canvas.shape == (360, 300, 3)


def test_track_colors():
    from rmpsam_ros.segmentation.labels import load_label_set

    coco = load_label_set("coco_panoptic")
    person = Segment(1, 0, True, 0.9, 1, (0, 0, 1, 1), 0)
    grass = Segment(2, 125, False, 0.9, 1, (0, 0, 1, 1), 0)
    colors = np.array([segment_color(person, coco, k) for k in range(1, 30)])
    assert ((colors >= 0) & (colors <= 255)).all()
    assert len({tuple(color) for color in colors.tolist()}) == 29
    assert np.abs(np.diff(colors, axis=0)).sum(axis=1).min() > 20
    assert segment_color(person, coco, 5) == segment_color(person, coco, 5)
    assert segment_color(person, coco, None) == coco.labels[0].color
    assert segment_color(grass, coco, 5) == coco.labels[125].color


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 5, 3), np.float32),
        np.zeros((5, 4, 3), np.uint8),
        np.zeros((4, 5), np.uint8),
        np.zeros((4, 5, 4), np.uint8),
    ],
)
def test_refuses_image(coco, image):
    with pytest.raises(ValueError, match="like the id map"):
        draw_overlay(image, result_of(np.zeros((4, 5), int), []), coco)


def test_refuses_a_map_with_unknown_ids(coco):
    with pytest.raises(ValueError):
        draw_overlay(np.zeros((4, 5, 3), np.uint8), result_of(np.full((4, 5), 9), [0]), coco)
