"""Instances against official output and against a plain implementation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rmpsam_ros.segmentation.instances import extract_instances
from rmpsam_ros.segmentation.labels import Label, LabelSet
from rmpsam_ros.segmentation.preprocess import Letterbox, fit
from rmpsam_ros.segmentation.run_length import decode_mask

VIS40 = LabelSet("vis", tuple(Label(i, f"c{i}", True, (0, 0, 0)) for i in range(40)))


def rows(instances):
    return [(one.class_id, one.mask.area, *one.box) for one in instances]


@pytest.mark.parametrize("name", ["default", "no_rescale", "vis40"])
def test_official_output(golden, cases, coco, name):
    arrays, facts = golden("fusion_postprocess"), cases["fusion_postprocess"]
    masks, classes = arrays["mask_pred"], arrays["mask_cls"]
    labels = coco
    if name == "vis40":
        classes, labels = classes[:, [*range(40), -1]].copy(), VIS40
    resized = tuple(facts["img_shape"])
    image = resized if name == "no_rescale" else tuple(facts["ori_shape"])
    found = extract_instances(classes, masks, Letterbox(image, resized, masks.shape[1:]), labels)
    order = np.lexsort((arrays[f"{name}.inst_labels"], -arrays[f"{name}.inst_scores"]))
    expected = [
        (label, area, *box)
        for label, area, box in zip(
            arrays[f"{name}.inst_labels"][order].tolist(),
            arrays[f"{name}.inst_mask_area"][order].tolist(),
            arrays[f"{name}.inst_bboxes"][order].astype(int).tolist(),
            strict=True,
        )
    ]
    assert len(found) == len(expected)
    scores = [one.score for one in found]
    np.testing.assert_allclose(scores, arrays[f"{name}.inst_scores"][order], atol=2e-5)
    # Areas within 2 pixels; instances of nearly equal score may swap places.
    assert sorted((r[0], *r[2:]) for r in rows(found)) == sorted((r[0], *r[2:]) for r in expected)
    areas = [np.array(sorted(r[:2] for r in some)) for some in (rows(found), expected)]
    assert np.abs(areas[0] - areas[1]).max() <= 2
    if name != "vis40":
        for k, packed in enumerate(arrays[f"{name}.inst_masks_first8_packed"]):
            mask = np.unpackbits(packed, count=image[0] * image[1]).reshape(image).astype(bool)
            differing = min((decode_mask(one.mask) != mask).sum() for one in found[: k + 9])
            assert differing <= 2


def test_official_instances_of_the_network(golden, coco):
    """The stored queries (every twentieth) give exactly their rows of the official list."""
    arrays = golden("panoptic_e2e_r50")
    classes, masks = arrays["final.cls"], arrays["final.mask"]
    probabilities = torch.from_numpy(classes).softmax(-1)[:, :-1]
    best = set(probabilities.flatten().topk(100).indices.tolist())
    wanted = {(q, c) for q, c in (divmod(i, 133) for i in best) if q % 20 == 0 and c < 80}
    geometry = Letterbox((150, 225), (120, 180), (128, 192))
    found = extract_instances(np.ascontiguousarray(classes[::20]), masks, geometry, coco, 5 * 133)
    found = [one for one in found if (20 * one.query, one.class_id) in wanted]
    assert len(found) == len(wanted) > 0
    official = list(
        zip(
            arrays["inst_labels"].tolist(),
            arrays["inst_mask_area"].tolist(),
            arrays["inst_scores"].tolist(),
            arrays["inst_bboxes"].tolist(),
            strict=True,
        )
    )
    for one in found:
        assert any(
            one.class_id == label
            and abs(one.mask.area - area) <= 3
            and one.score == pytest.approx(score, abs=1e-3)
            and list(one.box) == box
            for label, area, score, box in official
        )


@pytest.mark.parametrize(
    "image, limits", [((60, 80), (80, 60)), ((123, 77), (96, 64)), ((31, 200), (333, 200))]
)
def test_equals_plain_implementation(reference, scenes, coco, image, limits):
    rng = np.random.default_rng(8)
    geometry = fit(image, limits)
    size = geometry.padded_size[0] // 4, geometry.padded_size[1] // 4
    classes, masks = scenes.class_logits(rng, 20, 12), scenes.blobs(rng, 20, size, offset=-2.0)
    logits = reference.resample(masks, geometry)
    probabilities = torch.from_numpy(classes).softmax(-1)
    found = extract_instances(classes, masks, geometry, coco, 30)
    best = probabilities[:, :-1].flatten().topk(30).indices.tolist()
    pairs = {divmod(i, 133) for i in best if i % 133 < 80}
    assert {(one.query, one.class_id) for one in found} == pairs
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for one in found:
        mask = logits[one.query] > 0
        near = int((logits[one.query].abs() < 1e-4).sum())
        assert abs(one.mask.area - int(mask.sum())) <= near
        quality = float((logits[one.query].sigmoid() * mask).sum() / (mask.sum() + 1e-6))
        assert one.score == pytest.approx(
            float(probabilities[one.query, one.class_id]) * quality, abs=1e-5
        )


def test_empty_mask_has_no_box_and_no_score(coco):
    classes = np.zeros((1, 134), np.float32)
    classes[0, 5] = 20.0
    (one,) = extract_instances(
        classes, np.full((1, 4, 4), -1.0, np.float32), fit((9, 9), (32, 32)), coco, 1
    )
    assert one.box == (0, 0, 0, 0) and one.score == 0.0 and one.mask.area == 0


def test_stuff_is_dropped_after_the_choice(coco):
    classes = np.zeros((2, 134), np.float32)
    classes[0, 100], classes[1, 5] = 20.0, 10.0
    masks = np.ones((2, 4, 4), np.float32)
    assert extract_instances(classes, masks, fit((9, 9), (32, 32)), coco, 1) == []
    assert len(extract_instances(classes, masks, fit((9, 9), (32, 32)), coco, 2)) == 1


def test_broken_queries_are_left_out(coco):
    classes = np.zeros((3, 134), np.float32)
    classes[:, 5] = 20.0
    masks = np.ones((3, 4, 4), np.float32)
    classes[0, 7], masks[1, 2, 2] = np.nan, np.inf
    found = extract_instances(classes, masks, fit((9, 9), (32, 32)), coco, 1000)
    assert {one.query for one in found} == {2}


def test_no_queries(coco):
    nothing = np.zeros((0, 134), np.float32), np.zeros((0, 4, 4), np.float32)
    assert extract_instances(*nothing, fit((9, 9), (32, 32)), coco) == []


@pytest.mark.parametrize("count", [0, -1])
def test_refuses_count(coco, count):
    arrays = np.zeros((1, 134), np.float32), np.zeros((1, 4, 4), np.float32)
    with pytest.raises(ValueError, match="max_instances"):
        extract_instances(*arrays, fit((9, 9), (32, 32)), coco, count)


def test_refuses_arrays(coco):
    arrays = np.zeros((1, 133), np.float32), np.zeros((1, 4, 4), np.float32)
    with pytest.raises(ValueError, match=r"\(queries, 134\)"):
        extract_instances(*arrays, fit((9, 9), (32, 32)), coco)
