"""Clip split and alignment."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rmpsam_ros.tracking import (
    ClipPrediction,
    align_clips,
    align_queries,
    clip_size_for,
    match_clip_queries,
    split_clips,
)

ANGLE = 2.0 * np.pi / 3.0 / np.sqrt(3.0)  # per coordinate of the rotation vector


@pytest.mark.parametrize("clip_size", [3, 5])
def test_splits_are_those_of_the_reference(data_folder: Path, clip_size: int) -> None:
    table = json.loads((data_folder / "video_split.json").read_text())[str(clip_size)]
    assert len(table) >= 36
    for num_frames, ends in table.items():
        clips = split_clips(int(num_frames), clip_size)
        assert [last for _, last in clips] == ends
        assert [first for first, _ in clips] == [0, *ends[:-1]]


def test_clip_size_is_that_of_the_reference(data_folder: Path) -> None:
    used = json.loads((data_folder / "video_split.json").read_text())["used"]
    for num_frames, ends in used.items():
        clips = split_clips(int(num_frames), clip_size_for(int(num_frames)))
        assert [last for _, last in clips] == ends


@pytest.mark.parametrize(("num_frames", "clip_size"), [(0, 5), (-1, 5), (5, 0)])
def test_impossible_splits_are_refused(num_frames: int, clip_size: int) -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        split_clips(num_frames, clip_size)


def clips_of_one_video(
    lengths: tuple[int, ...], num_queries: int = 30
) -> tuple[list[ClipPrediction], list[np.ndarray]]:
    """Return clips whose row ``orders[i][j]`` is object j: its logits and masks say j."""
    rng = np.random.default_rng(3)
    queries = rng.normal(size=(num_queries, 16))
    clips, orders = [], []
    for index, length in enumerate(lengths):
        rows = np.arange(num_queries) if index == 0 else rng.permutation(num_queries)
        queries = queries + 0.1 * rng.normal(size=queries.shape)
        logits = np.stack([rows, rows * 10.0 + index, rows * 0.0], axis=1)
        masks = np.zeros((num_queries, length, 2, 3)) + rows[:, None, None, None]
        masks += 100.0 * np.arange(length)[:, None, None] + 1000.0 * index
        clips.append(
            ClipPrediction(
                logits.astype(np.float32), masks.astype(np.float32), queries[rows].astype("f4")
            )
        )
        orders.append(np.argsort(rows))
    return clips, orders


def test_rows_stay_with_their_object() -> None:
    clips, orders = clips_of_one_video((5, 4, 4, 4))
    video = align_clips(clips)
    objects = np.arange(30)
    np.testing.assert_array_equal(video.orders, orders)
    # every clip counts once in the mean, whatever its length: (0 + 1 + 2 + 3) / 4
    np.testing.assert_allclose(video.class_logits[:, 0], objects)
    np.testing.assert_allclose(video.class_logits[:, 1], objects * 10.0 + 1.5)
    assert video.mask_logits.shape == (30, 17, 2, 3)
    assert video.mask_logits.dtype == video.class_logits.dtype == np.float32
    starts = [0, 100, 200, 300, 400, *(1000 * i + 100 * t for i in (1, 2, 3) for t in range(4))]
    np.testing.assert_array_equal(
        video.mask_logits[:, :, 1, 2], objects[:, None] + np.array(starts)[None]
    )


def test_short_clips_weigh_as_much_as_long_ones() -> None:
    clips, _ = clips_of_one_video((5, 1))
    np.testing.assert_allclose(align_clips(clips).class_logits[:, 1], np.arange(30) * 10.0 + 0.5)


def test_one_clip_is_left_as_it_is() -> None:
    clips, _ = clips_of_one_video((3,))
    video = align_clips(clips)
    np.testing.assert_array_equal(video.class_logits, clips[0].class_logits)
    np.testing.assert_array_equal(video.mask_logits, clips[0].mask_logits)
    np.testing.assert_array_equal(video.orders, [np.arange(30)])


def test_clips_follow_the_clip_before_and_not_the_first() -> None:
    # Three queries turn into each other's place (120 degrees about the diagonal), in small steps.
    turning = [Rotation.from_rotvec(np.full(3, a)).as_matrix() for a in np.linspace(0, ANGLE, 9)]
    np.testing.assert_array_equal(align_queries(turning), [[0, 1, 2]] * 9)
    assert match_clip_queries(turning[0], turning[-1]).tolist() != [0, 1, 2]


def test_no_clip_is_refused() -> None:
    with pytest.raises(ValueError, match="no clip"):
        align_clips([])


@pytest.mark.parametrize(
    ("logits", "masks"),
    [
        ((30, 4), (30, 2, 2, 3)),
        ((29, 3), (30, 2, 2, 3)),
        ((30, 3), (29, 2, 2, 3)),
        ((30, 3), (30, 2, 2, 4)),
        ((30, 3), (30, 2, 3)),
        ((90,), (30, 2, 2, 3)),
    ],
)
def test_clips_that_do_not_fit_are_refused(
    logits: tuple[int, ...], masks: tuple[int, ...]
) -> None:
    clips, _ = clips_of_one_video((2,))
    odd = ClipPrediction(
        np.zeros(logits, np.float32), np.zeros(masks, np.float32), clips[0].queries
    )
    with pytest.raises(ValueError, match="clip 1 has"):
        align_clips([clips[0], odd])
