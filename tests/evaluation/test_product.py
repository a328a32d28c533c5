"""Figures of the product are figures of what `Pipeline` gives."""

import numpy as np
import pytest

from rmpsam_ros.evaluation.interactive import tight_box
from rmpsam_ros.evaluation.product import ProductPredictor
from rmpsam_ros.evaluation.video_objects import score_sequence
from rmpsam_ros.pipeline import Pipeline, PipelineConfig
from rmpsam_ros.runtime import EngineInfo, FrameOutput, ObjectOutput, PromptOutput
from rmpsam_ros.runtime.batches import Batches
from rmpsam_ros.runtime.steps import HostSteps
from rmpsam_ros.segmentation.labels import load_label_set
from rmpsam_ros.segmentation.prompt_types import ObjectPrompt
from rmpsam_ros.segmentation.run_length import decode_mask

LABELS = load_label_set("coco_panoptic")
HEIGHT, WIDTH = 64, 96
NO_POINTS = np.zeros((0, 2), np.float32), np.zeros(0, np.uint8)


class BrightNetwork(HostSteps, Batches):
    """What is bright on the left is a person; prompts are answered with all that is bright."""

    info = EngineInfo("bright", "fp32", "cpu", "none", "none")

    def run(self, image, boxes=None):
        bright = image[0, :, 2::4, 2::4].max(axis=0) > 0
        left = bright & (np.arange(bright.shape[1]) < bright.shape[1] // 2)
        masks = np.full((4, *bright.shape), -20.0, np.float32)
        classes = np.zeros((4, LABELS.num_classes + 1), np.float32)
        classes[:, -1] = 20.0
        masks[0][left] = 20.0
        classes[0, [0, -1]] = 20.0, 0.0
        objects = ObjectOutput(classes, masks, np.eye(4, 256, dtype=np.float32))
        return FrameOutput(bright, objects, self.decode_prompts(bright, boxes))

    def decode_prompts(self, bright, boxes):
        boxes = np.zeros((0, 4), np.float32) if boxes is None else boxes
        logits = np.where(bright, 20.0, -20.0).astype(np.float32)[None]
        scores = np.full(len(boxes), 0.9, np.float32)
        return PromptOutput(logits.repeat(len(boxes), axis=0), scores)

    def close(self):
        pass


def make_pipeline():
    return Pipeline(BrightNetwork(), LABELS, PipelineConfig(long_side=WIDTH, short_side=HEIGHT))


def picture(*places):
    """A black image with bright squares at (x, y)."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for x, y in places:
        image[y : y + 16, x : x + 16] = 255
    return image


TWO = picture((8, 8), (64, 40))


@pytest.fixture
def product():
    predictor = ProductPredictor(make_pipeline())
    predictor.show(TWO)
    return predictor


@pytest.fixture
def reference():
    pipeline = make_pipeline()
    return pipeline, pipeline.process(TWO, 0.0)


def test_the_segmentation_is_that_of_the_pipeline(product, reference):
    pipeline, result = reference
    assert product.panoptic().segments == result.panoptic.segments
    np.testing.assert_array_equal(product.panoptic().id_map, result.panoptic.id_map)
    everything = np.ones(LABELS.num_classes, bool)
    np.testing.assert_array_equal(product.semantic(everything), pipeline.semantic_map(result))
    expected = [decode_mask(found.mask) for found in pipeline.prompts.segment_everything()]
    np.testing.assert_array_equal(product.object_masks(), expected)


def test_prompts_are_answered_by_the_rules_of_the_product(product, reference):
    pipeline, _ = reference
    points = np.array([[12.0, 12.0], [70.0, 50.0]])
    masks = product.click(points)
    for mask, point in zip(masks, points, strict=True):
        prompt = ObjectPrompt(np.float32(point)[None], np.ones(1, np.uint8), np.zeros((0, 4)))
        np.testing.assert_array_equal(mask, decode_mask(pipeline.prompts.prompt(prompt).mask))
    assert tight_box(masks[0])[2] < WIDTH // 2 < tight_box(masks[1])[0]  # connected parts
    (mask,) = product.box(np.array([[8.0, 8.0, 24.0, 24.0]]))
    prompt = ObjectPrompt(*NO_POINTS, np.array([[8, 8, 24, 24]], np.float32))
    np.testing.assert_array_equal(mask, decode_mask(pipeline.prompts.prompt(prompt).mask))
    assert tight_box(mask)[2] < WIDTH // 2  # it ends near the box


def test_images_have_nothing_to_do_with_one_another(product):
    first = product.panoptic().id_map.copy()
    product.show(picture())
    assert product.panoptic().segments == () and product.object_masks().shape[0] == 0
    product.show(TWO)
    np.testing.assert_array_equal(product.panoptic().id_map, first)


def test_an_object_that_is_hidden_is_lost_and_found_again():
    """Following without memory would not find it."""
    shown = [4, 6, None, None, 10, 12, 14]
    frames = [picture() if x is None else picture((x, 20)) for x in shown]
    masks = list(ProductPredictor(make_pipeline()).follow(iter(frames), (8, 28)))
    assert [bool(mask.any()) for mask in masks] == [x is not None for x in shown]
    truths = [frame[..., 0] > 0 for frame in frames]
    for mask, truth in zip(masks, truths, strict=True):
        assert np.count_nonzero(mask ^ truth) <= 0.4 * max(np.count_nonzero(truth), 1)
    pairs = iter(list(zip(frames, truths, strict=True)))
    region, contour = score_sequence(ProductPredictor(make_pipeline()), pairs)
    assert region > 0.6 and contour > 0.6
