"""Identity switches, fragmentations and contours against TrackEval on the same random tracks."""

import numpy as np
import pytest

from rmpsam_ros.evaluation.video import IdentitySwitches, contour
from rmpsam_ros.segmentation.overlap import mask_ious

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


def their_figures(data, **numbers):
    """CLEAR MOT of TrackEval."""
    data = (
        data
        | numbers
        | {
            "num_gt_dets": sum(map(len, data["gt_ids"])),
            "num_tracker_dets": sum(map(len, data["tracker_ids"])),
            "num_timesteps": len(data["gt_ids"]),
        }
    )
    return metrics.CLEAR({"PRINT_CONFIG": False}).eval_sequence(data)


@pytest.mark.parametrize("seed", range(6))
def test_identity_switches(seed):
    rng = np.random.default_rng(seed)
    frames, objects = 25, moving_boxes(rng, 4, 25)
    tracks = np.roll(objects, 2, axis=3)
    ids = np.stack(
        [rng.permutation(4) if rng.random() < 0.3 else np.arange(4) for _ in range(frames)]
    )
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
        data["similarity_scores"].append(mask_ious(true_masks, masks))
    theirs = their_figures(data, num_gt_ids=4, num_tracker_ids=4)
    assert ours.switches == theirs["IDSW"]
    assert ours.matches == theirs["CLR_TP"]
    assert ours.fragmentations == theirs["Frag"]


# Two objects: per frame the id of the track on each, "." where there is none; then switches and
# fragmentations. A third track away from them is in every frame, because TrackEval skips frames
# without any track and sees no interruption in them.
HAND_MADE = {
    "kept": ("1111", "2222", 0, 0),
    "switched once": ("1133", "2222", 1, 0),
    "swapped": ("1122", "2211", 2, 0),
    "there and back": ("1131", "2222", 2, 0),
    "interrupted": ("11.11", "22222", 0, 1),
    "interrupted twice": ("1.1.1", "22222", 0, 2),
    "interrupted and switched": ("11.33", "22222", 1, 1),
    "late": (".1111", "22222", 0, 0),
    "lost for good": ("11...", "22222", 0, 0),
    "never found": (".....", "22222", 0, 0),
    "both interrupted": ("1..11", "22.22", 0, 2),
}


@pytest.mark.parametrize("case", HAND_MADE)
def test_hand_made_cases(case):
    *ids, switches, fragmentations = HAND_MADE[case]
    places = np.zeros((3, 9, 9), bool)
    for k in range(3):
        places[k, 3 * k : 3 * k + 3] = True
    ours = IdentitySwitches()
    data = {"gt_ids": [], "tracker_ids": [], "similarity_scores": []}
    for found in zip(*ids, strict=True):
        tracks = {int(one): k for k, one in enumerate(found) if one != "."} | {4: 2}
        masks = places[list(tracks.values())]
        ours.add(list(tracks), masks, [0, 1], places[:2])
        data["gt_ids"].append(np.arange(2))
        data["tracker_ids"].append(np.array(list(tracks)))
        data["similarity_scores"].append(mask_ious(places[:2], masks))
    theirs = their_figures(data, num_gt_ids=2, num_tracker_ids=5)
    assert (ours.switches, ours.fragmentations) == (switches, fragmentations)
    assert (theirs["IDSW"], theirs["Frag"]) == (switches, fragmentations)
    assert ours.matches == theirs["CLR_TP"] == sum(one != "." for row in ids for one in row)


def test_a_frame_without_any_track_is_an_interruption():
    ours, mask = IdentitySwitches(), np.ones((1, 4, 4), bool)
    for seen in (True, False, True):
        ours.add([7] if seen else [], mask[: int(seen)], [1], mask)
    assert (ours.switches, ours.fragmentations, ours.matches, ours.objects) == (0, 1, 2, 3)


@pytest.mark.parametrize("seed", range(6))
def test_contours(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((9, 11)) < 0.5
    expected = metrics.JAndF._seg2bmap(mask.astype(np.uint8))
    assert np.array_equal(contour(mask), expected.astype(bool))
