"""Compares an engine with fp32 PyTorch on stored real frames, and says whether it is good enough.

What is compared are results, not tensors: label maps, masks, classes and scores. The network
binarises masks inside, so that tensors of equally good engines may differ visibly.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_safetensors

from rmpsam_ros.runtime.engine import Engine, FrameOutput, ObjectOutput
from rmpsam_ros.segmentation.labels import Label, LabelSet
from rmpsam_ros.segmentation.panoptic import FusionConfig, class_probabilities, fuse_panoptic
from rmpsam_ros.segmentation.preprocess import Letterbox, preprocess

FRAME_LIMITS = (640, 480)  # long and short side in pixels, the pipeline's default
# Below the usual thresholds: a network that is never sure has something to compare, too, and no
# segment goes as a whole because its overlap is just below a limit.
FUSION = FusionConfig(score_threshold=0.3, overlap_threshold=0.0)
# Prompts beside the objects: boxes of three sizes, and one that is a click.
PROMPTS = np.array(
    [
        [0.1, 0.1, 0.9, 0.9],
        [0.25, 0.3, 0.55, 0.7],
        [0.6, 0.55, 0.75, 0.8],
        [0.5, 0.5, 0.501, 0.501],
    ],
    np.float32,
)
NO_OBJECTS = 1e-3  # sum of all queries' probabilities to be an object


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well an engine agrees with fp32 PyTorch; means over frames, 1 is perfect.

    Attributes:
        frames: number of frames compared.
        pixels: share of pixels with the same query and class in the panoptic map.
        mask_iou: intersection over union of the masks of the same query. This and the following
            are means over all queries, weighted by how sure a query is to be an object at all.
        classes: share of queries with the same best class.
        score_error: difference of the best class probability; 0 is perfect.
        prompt_iou: intersection over union of the masks of the same prompt.
    """

    frames: int
    pixels: float
    mask_iou: float
    classes: float
    score_error: float
    prompt_iou: float

    def __str__(self) -> str:
        return (
            f"{self.pixels:.2%} of pixels, mask IoU {self.mask_iou:.4f}, "
            f"{self.classes:.2%} of classes, score error {self.score_error:.4f}, "
            f"prompts' mask IoU {self.prompt_iou:.4f} over {self.frames} frames"
        )


FP32_LIMITS = Agreement(1, 0.995, 0.99, 0.99, score_error=0.01, prompt_iou=0.99)
# Prompts are few, and some ask for nothing: there a mask is small and its edge is most of it.
REDUCED_LIMITS = Agreement(1, 0.98, 0.95, 0.95, score_error=0.05, prompt_iou=0.9)


def shortcomings(agreement: Agreement, precision: str) -> str:
    """Return where an engine of this precision is too far off; '' if it is good enough."""
    limits = FP32_LIMITS if precision == "fp32" else REDUCED_LIMITS
    found = [
        f"{name} {getattr(agreement, name):.4f} (at least {getattr(limits, name)})"
        for name in ("pixels", "mask_iou", "classes", "prompt_iou")
        if not getattr(agreement, name) >= getattr(limits, name)  # NaN is too far off
    ]
    if not agreement.score_error <= limits.score_error:
        found.append(f"score_error {agreement.score_error:.4f} (at most {limits.score_error})")
    return ", ".join(found)


@lru_cache(maxsize=1)
def stored_frames() -> tuple[NDArray[np.uint8], ...]:
    """Return the packaged real frames, (H, W, 3) uint8 BGR, of two sizes in turn."""
    data = resources.files("rmpsam_ros.runtime") / "frames" / "frames.safetensors"
    jpegs = load_safetensors(data.read_bytes())
    images = [cv2.imdecode(jpegs[name], cv2.IMREAD_COLOR) for name in sorted(jpegs)]
    return tuple(np.asarray(image, np.uint8) for image in images)


def preprocessed_frames(
    count: int, first: int = 0, limits: tuple[int, int] = FRAME_LIMITS
) -> list[tuple[NDArray[np.float32], Letterbox]]:
    """Return ``count`` stored frames, from number ``first`` on, as inputs (1, 3, H, W)."""
    frames = stored_frames()[first : first + count]
    return [preprocess(frame, limits, "bgr") for frame in frames]


class Runner(Protocol):
    """What can be compared: an engine, or its `Remembered` results."""

    def run(self, image: Any, boxes: NDArray[np.float32] | None = None) -> FrameOutput: ...


class Remembered:
    """Runs an engine once per image: many engines are compared with the same one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._outputs: dict[bytes, FrameOutput] = {}

    def run(
        self, image: NDArray[np.float32], boxes: NDArray[np.float32] | None = None
    ) -> FrameOutput:
        """Do what `Engine.run` does on (1, 3, H, W), without features; boxes stay the same."""
        key = hashlib.sha256(image.tobytes()).digest()
        if key not in self._outputs:
            self._outputs[key] = replace(self._engine.run(image, boxes), features=None)
        return self._outputs[key]


def compare(
    engine: Runner, reference: Runner, frames: Sequence[tuple[NDArray[np.float32], Letterbox]]
) -> Agreement:
    """Run both engines on frames (1, 3, H, W) from `preprocessed_frames` and compare results."""
    rows = []
    for image, geometry in frames:
        expected, actual = (runner.run(image, PROMPTS) for runner in (reference, engine))
        assert expected.prompts is not None and actual.prompts is not None
        masks = (output.mask_logits > 0 for output in (actual.prompts, expected.prompts))
        prompt_iou = float(_mask_ious(*masks).mean())
        rows.append((*_compare_objects(actual.objects, expected.objects, geometry), prompt_iou))
    return Agreement(len(rows), *np.mean(rows, axis=0).tolist())


def _compare_objects(
    actual: ObjectOutput, expected: ObjectOutput, geometry: Letterbox
) -> tuple[float, float, float, float]:
    """Return pixels, mask IoU, classes and score error of one frame."""
    pixels = (panoptic_codes(actual, geometry) == panoptic_codes(expected, geometry)).mean()
    probabilities = class_probabilities(expected.class_logits)
    other = class_probabilities(actual.class_logits)
    # What counts is a query that either engine takes for an object.
    objectness = 1 - np.minimum(probabilities[:, -1], other[:, -1]).astype(np.float64)
    if objectness.sum() < NO_OBJECTS:
        return float(pixels), 1.0, 1.0, 0.0
    same_class = probabilities.argmax(axis=1) == other.argmax(axis=1)
    score_errors = np.abs(probabilities.max(axis=1) - other.max(axis=1))
    ious = _mask_ious(actual.mask_logits > 0, expected.mask_logits > 0)
    return (
        float(pixels),
        float(np.average(ious, weights=objectness)),
        float(np.average(same_class, weights=objectness)),
        float(np.average(score_errors, weights=objectness)),
    )


def panoptic_codes(objects: ObjectOutput, geometry: Letterbox) -> NDArray[np.int64]:
    """Return query and class of every pixel in one number, (H, W), 0 for none."""
    num_classes = objects.class_logits.shape[1] - 1
    result = fuse_panoptic(
        objects.class_logits, objects.mask_logits, geometry, _all_things(num_classes), FUSION
    )
    codes = np.zeros(len(result.segments) + 1, np.int64)
    for segment in result.segments:
        codes[segment.id] = 1 + segment.query * num_classes + segment.class_id
    return codes[result.id_map]


@lru_cache(maxsize=4)
def _all_things(num_classes: int) -> LabelSet:
    """Labels without stuff, whose merging would hide which query a pixel belongs to."""
    labels = (Label(index, str(index), True, (0, 0, 0)) for index in range(num_classes))
    return LabelSet("precision check", tuple(labels))


def _mask_ious(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> NDArray[np.float64]:
    """IoU of every pair of masks, (N,) of two (N, h, w); two empty masks agree fully."""
    union = np.logical_or(a, b).sum(axis=(1, 2))
    both = np.logical_and(a, b).sum(axis=(1, 2))
    return np.where(union > 0, both / np.maximum(union, 1), 1.0)
