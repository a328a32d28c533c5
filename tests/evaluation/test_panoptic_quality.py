"""PQ by hand, and on the official two-picture COCO sample."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from rmpsam_ros.data.coco import read_segment_ids
from rmpsam_ros.evaluation.panoptic_quality import PanopticQuality

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "coco_panoptic_samples"


def quality(predicted, predicted_classes, truth, true_classes, crowds=frozenset()):
    score = PanopticQuality([True, True, False])
    score.add(np.array(predicted), predicted_classes, np.array(truth), true_classes, crowds)
    return score


def row(*runs):
    """A picture of one row from (id, length) pairs."""
    return [[value for value, length in runs for _ in range(length)]]


@pytest.mark.parametrize(
    ("predicted", "classes", "truth", "true_classes", "expected"),
    [
        # the annotation itself
        (row((1, 4), (2, 6)), {1: 0, 2: 2}, row((1, 4), (2, 6)), {1: 0, 2: 2}, (100, 100, 100)),
        # IoU 3/4 of the only class
        (row((1, 3), (0, 7)), {1: 0}, row((1, 4), (0, 6)), {1: 0}, (75, 75, 100)),
        # IoU of exactly 0.5 does not match: one missed, one wrong
        (row((1, 2), (0, 2)), {1: 0}, row((1, 4)), {1: 0}, (0, 0, 0)),
        # right place, wrong class: both classes get 0
        (row((1, 4)), {1: 1}, row((1, 4)), {1: 0}, (0, 0, 0)),
        # one of two found: PQ = 1 / (1 + 0.5)
        (row((1, 2), (0, 2)), {1: 0}, row((1, 2), (2, 2)), {1: 0, 2: 0}, (200 / 3, 100, 200 / 3)),
        # void pixels are left out of the union
        (row((1, 4), (0, 1)), {1: 0}, row((1, 3), (0, 2)), {1: 0}, (100, 100, 100)),
        # a prediction mostly on void is not wrong
        (row((1, 2), (2, 3)), {1: 0, 2: 0}, row((1, 3), (0, 2)), {1: 0}, (200 / 3, 200 / 3, 100)),
    ],
)
def test_by_hand(predicted, classes, truth, true_classes, expected):
    score = quality(predicted, classes, truth, true_classes).score()
    assert (score.pq, score.sq, score.rq) == pytest.approx(expected)


def test_crowds_excuse_predictions_of_their_class_only():
    truth, classes = row((1, 4), (2, 6)), {1: 0, 2: 0}
    crowd = frozenset({2})
    same = quality(row((3, 4), (4, 6)), {3: 0, 4: 0}, truth, classes, crowd)
    other = quality(row((3, 4), (4, 6)), {3: 0, 4: 1}, truth, classes, crowd)
    assert same.score().pq == 100
    assert other.score().pq == 50  # class 1 has one wrong prediction


def test_things_and_stuff_are_averaged_apart():
    score = quality(row((1, 3), (2, 6)), {1: 0, 2: 2}, row((1, 3), (2, 6)), {1: 1, 2: 2})
    assert score.score(things=False).pq == 100
    assert score.score(things=True).pq == 0
    assert score.score(things=True).num_classes == 2
    assert set(score.per_class()) == {0, 1, 2}


def test_nothing_counted():
    assert math.isnan(PanopticQuality([True]).score().pq)


def test_bad_input():
    with pytest.raises(ValueError, match="annotation is"):
        quality([[0, 0]], {}, [[0]], {})
    with pytest.raises(ValueError, match="segment 7 of the prediction"):
        quality([[7]], {}, [[0]], {})


@pytest.fixture(scope="module")
def sample():
    """Maps and classes of the official pictures."""
    if not SAMPLE.exists():
        pytest.skip("the official COCO panoptic sample is not on this machine")
    categories = json.loads((SAMPLE / "panoptic_coco_categories.json").read_text())
    index = {entry["id"]: i for i, entry in enumerate(categories)}
    things = [bool(entry["isthing"]) for entry in categories]
    content = json.loads((SAMPLE / "sample_data" / "panoptic_examples.json").read_text())
    pictures = []
    for entry in content["annotations"]:
        ids = read_segment_ids(SAMPLE / "sample_data" / "panoptic_examples" / entry["file_name"])
        segments = entry["segments_info"]
        classes = {segment["id"]: index[segment["category_id"]] for segment in segments}
        crowds = frozenset(s["id"] for s in segments if s["iscrowd"])
        pictures.append((ids, classes, crowds))
    return things, pictures


def sample_score(sample, change=lambda ids, classes: (ids, classes)):
    things, pictures = sample
    score = PanopticQuality(things)
    for ids, classes, crowds in pictures:
        predicted, predicted_classes = change(ids.copy(), dict(classes))
        score.add(predicted, predicted_classes, ids, classes, crowds)
    return score


def test_sample_is_annotated_completely(sample):
    _, pictures = sample
    for ids, classes, _ in pictures:
        assert set(np.unique(ids)) - {0} == set(classes)


def test_annotation_scores_100(sample):
    score = sample_score(sample)
    for things in (None, True, False):
        assert score.score(things).pq == pytest.approx(100)


def test_missing_segments_cost_what_they_should(sample):
    """Without the largest segment of every picture its class loses exactly those."""

    def drop_largest(ids, classes):
        values, counts = np.unique(ids[ids > 0], return_counts=True)
        ids[ids == values[counts.argmax()]] = 0
        return ids, classes

    score = sample_score(sample, drop_largest)
    lost, total = {}, {}
    for ids, classes, crowds in sample[1]:
        values, counts = np.unique(ids[ids > 0], return_counts=True)
        dropped = int(values[counts.argmax()])
        lost[classes[dropped]] = lost.get(classes[dropped], 0) + (dropped not in crowds)
        for key in set(classes) - crowds:
            total[classes[key]] = total.get(classes[key], 0) + 1
    for class_index, result in score.per_class().items():
        missed = lost.get(class_index, 0)
        hits = total[class_index] - missed
        assert result.pq == pytest.approx(100 * hits / (hits + 0.5 * missed))


def test_eroded_segments_lose_segmentation_quality_only(sample):
    """Every fourth row erased: IoU 0.75 for all but small segments, and nothing is missed."""

    def erase_rows(ids, classes):
        ids[::4] = 0
        return ids, classes

    score = sample_score(sample, erase_rows).score(things=False)
    assert score.sq == pytest.approx(75, abs=1.5)
    assert score.rq == pytest.approx(100)
