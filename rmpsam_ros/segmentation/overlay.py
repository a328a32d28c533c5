"""An image for people: class colours, contours and captions over the camera image."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros import _native
from rmpsam_ros.segmentation.captions import make_caption
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.results import PanopticResult, Segment
from rmpsam_ros.segmentation.run_length import Box

OPACITY = 115  # of 256
CAPTION_GRID = 160  # captions are placed on a map of at most this many cells a side


def segment_color(
    segment: Segment, label_set: LabelSet, track_id: int | None
) -> tuple[int, int, int]:
    """Colour (red, green, blue) of a segment: its class's, for a tracked thing varied by track.

    Hue and brightness move a little with the track id, so that neighbours of one class can be told
    apart while the class remains recognisable and a track keeps its colour.
    """
    color = label_set.labels[segment.class_id].color
    if track_id is None or not segment.is_thing:
        return color
    hue, saturation, value = colorsys.rgb_to_hsv(*(part / 255.0 for part in color))
    turn = track_id * 0.61803398875 % 1.0  # golden ratio: following ids get distant shifts
    hue = (hue + 0.16 * (turn - 0.5)) % 1.0
    saturation = min(1.0, max(0.45, saturation))
    value = min(1.0, max(0.45, value) * (0.75 + 0.5 * (track_id * 0.7548776662 % 1.0)))
    red, green, blue = (round(255 * p) for p in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue


def draw_overlay(
    image: NDArray[np.uint8],
    panoptic: PanopticResult,
    label_set: LabelSet,
    track_ids: Mapping[int, int] | None = None,
) -> NDArray[np.uint8]:
    """Draw a panoptic segmentation over its image.

    Args:
        image: (H, W, 3) uint8, RGB, of the size of the id map.
        track_ids: track id by segment id, for the things that are tracked.

    Returns:
        A new (H, W, 3) uint8 RGB image: tinted segments with solid contours, and a caption with
        class name and track id where it fits; pixels without a segment are unchanged.

    Raises:
        ValueError: another dtype or size.
    """
    if image.dtype != np.uint8 or image.shape != (*panoptic.size, 3):
        raise ValueError(
            f"image must be uint8 of shape {(*panoptic.size, 3)} like the id map, "
            f"got {image.dtype} {image.shape}"
        )
    tracks = track_ids or {}
    colors = np.zeros((len(panoptic.segments) + 1, 3), np.uint8)
    for segment in panoptic.segments:
        colors[segment.id] = segment_color(segment, label_set, tracks.get(segment.id))
    height = image.shape[0]
    reach = max(1, round(height / 540))
    image, id_map = np.ascontiguousarray(image), np.ascontiguousarray(panoptic.id_map)
    canvas = _native.tint(image, id_map, colors, OPACITY, reach)
    _draw_captions(canvas, panoptic, label_set, tracks)
    return canvas


def _draw_captions(
    canvas: NDArray[np.uint8],
    panoptic: PanopticResult,
    label_set: LabelSet,
    tracks: Mapping[int, int],
) -> None:
    """Write captions, large segments first; one that finds no free place is left out."""
    height, width = canvas.shape[:2]
    stride = max(1, -(-max(height, width) // CAPTION_GRID))
    grid = np.ascontiguousarray(panoptic.id_map[stride // 2 :: stride, stride // 2 :: stride])
    placed: list[Box] = []
    for segment in sorted(panoptic.segments, key=lambda segment: -segment.area):
        center = _deepest_point(grid, segment, stride)
        if center is None:
            continue
        text = label_set.labels[segment.class_id].name
        if segment.id in tracks:
            text = f"{text} {tracks[segment.id]}"
        caption = make_caption(text, height)
        plate = _find_place(center, caption.size, (width, height), placed)
        if plate is None:
            continue
        placed.append(plate)
        caption.draw(canvas, *plate[:2])


def _deepest_point(
    grid: NDArray[np.uint16], segment: Segment, stride: int
) -> tuple[int, int] | None:
    """Central point (x, y) of the image deep inside a segment, or None if the grid misses it."""
    left, top = segment.box[0] // stride, segment.box[1] // stride
    part = grid[top : segment.box[3] // stride + 1, left : segment.box[2] // stride + 1]
    inside = cv2.copyMakeBorder(
        (part == segment.id).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0
    )
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    deepest = depth.max()
    if deepest <= 0.0:
        return None
    ys, xs = np.nonzero(depth >= 0.8 * deepest)
    central = np.argmin(np.hypot(ys - inside.shape[0] / 2, xs - inside.shape[1] / 2))
    return int((left + xs[central] - 0.5) * stride), int((top + ys[central] - 0.5) * stride)


def _find_place(
    center: tuple[int, int],
    size: tuple[int, int],
    canvas_size: tuple[int, int],
    placed: list[Box],
) -> Box | None:
    """Box of the wanted size near a point, inside the canvas and free of other captions."""
    if size[0] > canvas_size[0] or size[1] > canvas_size[1]:
        return None
    for step in (0, -1, 1, -2, 2):
        left = center[0] - size[0] // 2
        top = center[1] - size[1] // 2 + step * size[1]
        left = min(max(left, 0), canvas_size[0] - size[0])
        top = min(max(top, 0), canvas_size[1] - size[1])
        box = (left, top, left + size[0], top + size[1])
        if all(
            box[0] >= other[2] or other[0] >= box[2] or box[1] >= other[3] or other[1] >= box[3]
            for other in placed
        ):
            return box
    return None
