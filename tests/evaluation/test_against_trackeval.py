"""Identity switches and contours against TrackEval on the same random tracks."""

import numpy as np
import pytest

from rmpsam_ros.evaluation.recall import iou_matrix
from rmpsam_ros.evaluation.video import IdentitySwitches, contour

metrics = pytest.importorskip(
    "trackeval.metrics", reason="TrackEval is a test-only reference", exc_type=ImportError
)


def moving_boxes(rng, count, frames, size=(40, 60)):
    """Masks [frames, count, H, W] of boxes that drift; some are gone for a while."""
    masks = np.zeros((frames, count, *size), bool)
    for index in range(count):
        x, y = rng.integers(0, 40), rng.integers(0, 25)
        for frame in range(frames):
            x, y = np.clip(x + rng.integers(-3, 4), 0, 45), np.clip(y + rng.integers(-3, 4), 0, 28)
            if rng.random() > 0.15:
                masks[frame, index, y : y + 12, x : x + 15] = True
    return masks


@pytest.mark.parametrize("seed", range(6))
def test_identity_switches(seed):
    rng = np.random.default_rng(seed)
    frames, objects = 25, moving_boxes(rng, 4, 25)
    tracks = np.roll(objects, 2, axis=3)
    ids = np.stack([rng.permutation(4) if rng.random() < 0.3 else np.arange(4)
                    for _ in range(frames)])
    ours = IdentitySwitches()
    data = {"gt_ids": [], "tracker_ids": [], "similarity_scores": []}
    for frame in range(frames):
        there = objects[frame].any(axis=(1, 2))
        seen = np.roll(there, 0) & (rng.random(4) > 0.1)
        object_ids, track_ids = np.flatnonzero(there), ids[frame][seen]
        true_masks, masks = objects[frame][there], tracks[frame][seen]
        ours.add(track_ids.tolist(), masks, object_ids.tolist(), true_masks)
        data["gt_ids"].append(object_ids)
        data["tracker_ids"].append(track_ids)
        data["similarity_scores"].append(iou_matrix(true_masks, masks))
    data.update(
        num_gt_dets=sum(map(len, data["gt_ids"])), num_gt_ids=4, num_tracker_ids=4,
        num_tracker_dets=sum(map(len, data["tracker_ids"])), num_timesteps=frames,
    )
    theirs = metrics.CLEAR({"PRINT_CONFIG": False}).eval_sequence(data)
    assert ours.switches == theirs["IDSW"]
    assert ours.matches == theirs["CLR_TP"]


@pytest.mark.parametrize("seed", range(6))
def test_contours(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((9, 11)) < 0.5
    expected = metrics.JAndF._seg2bmap(mask.astype(np.uint8))
    assert np.array_equal(contour(mask), expected.astype(bool))
