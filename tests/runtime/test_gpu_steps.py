"""Pre- and post-processing as they run on a GPU, here on the CPU, equal the compiled ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rmpsam_ros.runtime.engine import EngineError, ObjectOutput
from rmpsam_ros.runtime.gpu_steps import fuse_on_device, preprocess_on_device
from rmpsam_ros.runtime.steps import DeviceSteps
from rmpsam_ros.segmentation.labels import Label, LabelSet
from rmpsam_ros.segmentation.panoptic import FusionConfig, fuse_panoptic
from rmpsam_ros.segmentation.preprocess import fit, preprocess
from rmpsam_ros.segmentation.tidying import TidyConfig

CPU = torch.device("cpu")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no CUDA device"))]  # fmt: skip
LABELS = LabelSet("six", tuple(Label(i, f"class {i}", i < 3, (i, i, i)) for i in range(6)))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channel_order", ["rgb", "bgr"])
@pytest.mark.parametrize("size", [(480, 640), (123, 77), (96, 128), (300, 500)])
def test_preprocessing_equals_the_compiled_one(size, channel_order, device):
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    expected, geometry = preprocess(image, (128, 96), channel_order)
    actual, same = preprocess_on_device(image, (128, 96), channel_order, torch.device(device))
    assert same == geometry
    np.testing.assert_allclose(actual.cpu().numpy(), expected, atol=1e-6)


def scene(queries: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth random masks and classes: many winners, unsure pixels, classes that repeat."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.normal(size=(1, queries, 6, 8)).astype(np.float32))
    masks = torch.nn.functional.interpolate(coarse, (24, 32), mode="bicubic")[0].numpy() * 6
    logits = rng.normal(size=(queries, 7)).astype(np.float32) * 4
    return logits, masks


def assert_equal_but_for_rounding(actual, expected) -> None:
    different = actual.id_map != expected.id_map
    assert different.mean() < 2e-4
    assert len(actual.segments) == len(expected.segments)
    for a, b in zip(actual.segments, expected.segments, strict=True):
        assert (a.id, a.class_id, a.is_thing, a.query) == (b.id, b.class_id, b.is_thing, b.query)
        assert a.score == pytest.approx(b.score, abs=1e-5)
        assert abs(a.area - b.area) <= different.sum()
        assert np.abs(np.subtract(a.box, b.box)).max() <= 1


TIDY = TidyConfig(True, 0.4, 0.3, 0.5, 0.3, 0.01, 0.01, 0.01)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "config",
    [
        FusionConfig(score_threshold=0.4, overlap_threshold=0.0),
        FusionConfig(score_threshold=0.4, overlap_threshold=0.3, filter_low_score=False),
        FusionConfig(score_threshold=0.3, overlap_threshold=0.2, class_ids=frozenset({0, 4})),
        FusionConfig(score_threshold=0.3, overlap_threshold=0.2, class_ids=frozenset()),
        FusionConfig(),
        FusionConfig(0.3, 0.2, tidy=TIDY),
        FusionConfig(0.3, 0.2, class_ids=frozenset({0, 4}), tidy=TIDY),
    ],
    ids=["loose", "no filter", "some classes", "no classes", "official", "tidy", "tidy, some"],
)
def test_fusion_equals_the_compiled_one(config, seed, device):
    logits, masks = scene(queries=20, seed=seed)
    geometry = fit((150, 211), (128, 96))
    expected = fuse_panoptic(logits, masks, geometry, LABELS, config)
    actual = fuse_on_device(
        *(torch.from_numpy(values).to(device) for values in (logits, masks)),
        geometry, LABELS, config,
    )  # fmt: skip
    assert_equal_but_for_rounding(actual, expected)
    assert actual.id_map.dtype == np.uint16 and actual.id_map.shape == (150, 211)


def test_the_scenes_are_not_empty():
    config = FusionConfig(score_threshold=0.4, overlap_threshold=0.0)
    for seed in range(4):
        logits, masks = scene(queries=20, seed=seed)
        result = fuse_panoptic(logits, masks, fit((150, 211), (128, 96)), LABELS, config)
        assert len(result.segments) > 4
        assert {segment.is_thing for segment in result.segments} == {True, False}


@pytest.mark.parametrize("broken", ["class nan", "class inf", "mask nan", "mask inf", "all"])
def test_queries_that_are_not_finite_take_no_part(broken):
    logits, masks = scene(queries=12, seed=1)
    winner = int(np.argmax(logits[:, :6].max(axis=1)))
    if broken == "all":
        masks[:] = np.nan
    elif broken.startswith("class"):
        logits[winner, 2] = np.nan if "nan" in broken else np.inf
    else:
        masks[winner, 5, 5] = np.nan if "nan" in broken else np.inf
    config = FusionConfig(score_threshold=0.4, overlap_threshold=0.0)
    geometry = fit((96, 128), (128, 96))
    expected = fuse_panoptic(logits, masks, geometry, LABELS, config)
    actual = fuse_on_device(
        torch.from_numpy(logits), torch.from_numpy(masks), geometry, LABELS, config
    )
    assert_equal_but_for_rounding(actual, expected)
    assert winner not in {segment.query for segment in actual.segments}


def test_masks_cross_the_bus_only_when_asked_for():
    logits, masks = (torch.from_numpy(values) for values in scene(queries=3, seed=0))
    objects = ObjectOutput(logits.numpy(), masks, np.zeros((3, 256), np.float32))
    assert objects._mask_logits is None and objects.device_masks is masks
    first = objects.mask_logits
    assert first is objects.mask_logits
    np.testing.assert_array_equal(first, masks.numpy())


def test_objects_that_are_elsewhere_are_refused():
    logits, masks = scene(queries=3, seed=0)
    objects = ObjectOutput(logits, masks, np.zeros((3, 256), np.float32))
    assert objects.mask_logits is masks
    with pytest.raises(EngineError, match="not from this engine"):
        DeviceSteps(CPU).fuse(objects, fit((96, 128), (128, 96)), LABELS, FusionConfig())
