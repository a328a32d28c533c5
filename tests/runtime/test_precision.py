"""The precision check: equal engines pass, every kind of error is found."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rmpsam_ros.runtime.engine import EngineInfo, FrameOutput, ObjectOutput, PromptOutput
from rmpsam_ros.runtime.precision import (
    Agreement,
    Remembered,
    compare,
    panoptic_codes,
    preprocessed_frames,
    shortcomings,
    stored_frames,
)
from rmpsam_ros.segmentation.preprocess import Letterbox

# Probability of not being "none", of logits 9 and 0.5 among five zeros.
SURE = 1 - 1 / (np.exp(9.0) + 5)
UNSURE = 1 - 1 / (np.exp(0.5) + 5)
GEOMETRY = Letterbox((96, 128), (96, 128), (96, 128))
FRAME = (np.zeros((1, 3, 96, 128), np.float32), GEOMETRY)


def designed_output() -> ObjectOutput:
    """Three sure queries that share the image in columns, and one that is unsure."""
    masks = np.full((4, 24, 32), -5.0, np.float32)
    masks[0, :, :10], masks[1, :, 10:20], masks[2, :, 20:] = 5.0, 5.0, 5.0
    logits = np.zeros((4, 6), np.float32)
    logits[np.arange(3), np.arange(3)] = 9.0
    logits[3, 4] = 0.5
    return ObjectOutput(logits, masks, np.ones((4, 256), np.float32))


def changed(objects: ObjectOutput, **changes: np.ndarray) -> ObjectOutput:
    names = ("class_logits", "mask_logits", "queries")
    return ObjectOutput(**{name: getattr(objects, name) for name in names} | changes)


def designed_prompts() -> PromptOutput:
    masks = np.full((4, 24, 32), -5.0, np.float32)
    masks[:, :, :8] = 5.0
    return PromptOutput(masks, np.ones(4, np.float32))


class Fixed:
    """An engine with one answer."""

    info = EngineInfo("fixed", "fp32", "cpu", "none", "none")

    def __init__(self, objects: ObjectOutput, prompts: PromptOutput | None = None) -> None:
        self._output = FrameOutput(None, objects, prompts or designed_prompts())

    def run(self, image: np.ndarray, boxes: np.ndarray | None = None) -> FrameOutput:
        return self._output


def agreement_with(**changes: np.ndarray) -> Agreement:
    return compare(
        Fixed(changed(designed_output(), **changes)), Fixed(designed_output()), [FRAME, FRAME]
    )


def test_equal_results_agree_fully():
    agreement = agreement_with()
    values = dataclasses.asdict(agreement)
    assert values == pytest.approx(dataclasses.asdict(Agreement(2, 1.0, 1.0, 1.0, 0.0, 1.0)))
    assert shortcomings(agreement, "fp32") == ""


def test_the_reference_runs_once_per_image():
    class Counting(Fixed):
        images: list[np.ndarray] = []  # noqa: RUF012

        def run(self, image: np.ndarray, boxes: np.ndarray | None = None) -> FrameOutput:
            self.images.append(image)
            return super().run(image)

    other = (np.ones((1, 3, 96, 128), np.float32), GEOMETRY)
    engine = Counting(designed_output())
    remembered = Remembered(engine)
    for _ in range(3):
        assert compare(Fixed(designed_output()), remembered, [FRAME, other]).pixels == 1
    assert len(engine.images) == 2


def test_the_designed_result_covers_the_image():
    codes = panoptic_codes(designed_output(), GEOMETRY)
    assert len(np.unique(codes)) == 3 and (codes > 0).all()


def test_a_shifted_border_is_found_in_pixels_and_masks():
    masks = designed_output().mask_logits.copy()
    masks[0, :, 8:10], masks[1, :, 8:10] = -5.0, 5.0
    agreement = agreement_with(mask_logits=masks)
    assert agreement.pixels == pytest.approx(1 - 2 / 32, abs=0.02)
    weights = [SURE, SURE, SURE, UNSURE]
    expected = np.average([8 / 10, 10 / 12, 1, 1], weights=weights)
    assert agreement.mask_iou == pytest.approx(expected)
    assert agreement.classes == pytest.approx(1.0)
    assert "pixels" in shortcomings(agreement, "int8")


def test_swapped_queries_are_found_though_the_picture_is_the_same():
    masks = designed_output().mask_logits[[1, 0, 2, 3]]
    assert agreement_with(mask_logits=masks).pixels < 0.5


def test_a_query_that_is_no_object_does_not_count():
    masks = designed_output().mask_logits.copy()
    logits = designed_output().class_logits.copy()
    logits[3, :5] = -9.0
    none = changed(designed_output(), class_logits=logits)
    masks[3] = 5.0
    other = changed(none, mask_logits=masks)
    assert compare(Fixed(other), Fixed(none), [FRAME]).mask_iou > 0.999
    assert compare(Fixed(designed_output()), Fixed(none), [FRAME]).classes < 0.9  # found anew


def test_a_wrong_class_is_found():
    logits = designed_output().class_logits.copy()
    logits[0, 0], logits[0, 1] = 0.0, 9.0
    agreement = agreement_with(class_logits=logits)
    assert agreement.classes == pytest.approx(1 - SURE / (3 * SURE + UNSURE))
    assert "classes" in shortcomings(agreement, "int8")


def test_nothing_anywhere_is_not_far_off():
    logits = np.zeros((4, 6), np.float32)
    logits[:, 5] = 200.0
    nothing = changed(designed_output(), class_logits=logits)
    agreement = compare(Fixed(nothing), Fixed(nothing), [FRAME])
    assert agreement == Agreement(1, 1.0, 1.0, 1.0, 0.0, 1.0)


def test_masks_of_prompts_that_drift_are_found():
    other = designed_prompts()
    other.mask_logits[2] = -5.0
    right, wrong = Fixed(designed_output()), Fixed(designed_output(), other)
    agreement = compare(wrong, right, [FRAME])
    assert agreement.prompt_iou == pytest.approx(3 / 4) and agreement.mask_iou == 1.0
    assert "prompt_iou" in shortcomings(agreement, "bf16")


def test_scores_that_drift_are_found():
    agreement = agreement_with(class_logits=designed_output().class_logits * 0.3)
    assert agreement.score_error > 0.05 and agreement.classes == pytest.approx(1.0)
    assert "score_error" in shortcomings(agreement, "fp16")


def test_empty_masks_agree():
    masks = np.full((4, 24, 32), -5.0, np.float32)
    empty = changed(designed_output(), mask_logits=masks)
    assert compare(Fixed(empty), Fixed(empty), [FRAME]).mask_iou == pytest.approx(1.0)


@pytest.mark.parametrize("field", ["pixels", "mask_iou", "classes", "score_error", "prompt_iou"])
def test_nan_is_never_good_enough(field):
    perfect = Agreement(1, 1.0, 1.0, 1.0, 0.0, 1.0)
    assert field in shortcomings(dataclasses.replace(perfect, **{field: np.nan}), "int8")


def test_fp32_must_agree_better_than_the_rest():
    agreement = Agreement(
        20, pixels=0.99, mask_iou=0.98, classes=0.98, score_error=0.01, prompt_iou=0.98
    )
    assert shortcomings(agreement, "fp32") and not shortcomings(agreement, "fp16")


def test_stored_frames_are_real_and_different():
    frames = stored_frames()
    assert len(frames) == 20 and {frame.shape for frame in frames} == {
        (360, 480, 3),
        (240, 320, 3),
    }
    assert all(frame.dtype == np.uint8 and frame.std() > 20 for frame in frames)
    assert len({frame.tobytes() for frame in frames}) == 20


def test_preprocessed_frames_are_network_inputs():
    calibration, check = preprocessed_frames(3), preprocessed_frames(2, first=3)
    assert len(calibration) == 3 and len(check) == 2
    for image, geometry in (*calibration, *check):
        assert image.shape == (1, 3, 480, 640) and geometry.padded_size == (480, 640)
    assert not any(np.array_equal(a, b) for a, _ in calibration for b, _ in check)
