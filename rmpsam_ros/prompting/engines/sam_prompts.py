"""The SAM family as prompt engines.

How an `ObjectPrompt` becomes SAM's prompts:

- all points without a box are one prompt: SAM takes clicks of both signs together;
- one foreground click alone is ambiguous (the shirt, or the person?): of the three masks that the
  decoder offers, where the model offers three, the largest is taken whose predicted IoU is within
  0.05 of the highest: where they are as good as each other, the whole is meant rather than a part;
- a box is one prompt together with the foreground points in it and all background points;
- of several boxes each is a prompt, foreground points outside all of them are one more, and the
  object is the union of their masks.

The score is the mean of the predicted IoUs, brought into 0 to 1; 0 for an empty mask.
"""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rmpsam_ros.model.sam import PROMPT_MODELS, transforms
from rmpsam_ros.prompting.answers import (
    Answer,
    FoundMask,
    GridStep,
    GridSteps,
    PromptEngine,
    PromptEngineError,
)
from rmpsam_ros.prompting.config import PromptingConfig
from rmpsam_ros.prompting.frames import KeptFrame
from rmpsam_ros.prompting.grid_prompts import EverythingMasks, grid_steps, segment_with_boxes
from rmpsam_ros.prompting.load import Progress, register
from rmpsam_ros.prompting.refinement import anchor_prompt
from rmpsam_ros.runtime import EngineConfig
from rmpsam_ros.runtime.load import load_sam_engine
from rmpsam_ros.runtime.sam_engine import SamEngine, SamFeatures
from rmpsam_ros.segmentation.prompt_types import FOREGROUND, ObjectPrompt
from rmpsam_ros.segmentation.run_length import encode_mask
from rmpsam_ros.tracking.prompted_records import Anchor
from rmpsam_ros.weights_store import find_weights

_MAX_QUALITY_LOSS = 0.05  # predicted IoU; measured: docs/prompt_engines.md


class SamPrompt(NamedTuple):
    """One prompt as SAM takes it: points [P, 2] with labels [P], and a box [4] or None."""

    points: NDArray[np.float32]
    labels: NDArray[np.uint8]
    box: NDArray[np.float32] | None

    @property
    def is_ambiguous(self) -> bool:
        """Whether it is one click and nothing else."""
        return self.box is None and len(self.labels) == 1


def sam_prompts(prompt: ObjectPrompt) -> list[SamPrompt]:
    """Return a valid prompt as SAM's prompts, by the rules of this module."""
    points, labels, boxes = prompt.points, np.asarray(prompt.labels), prompt.boxes
    if not len(boxes):
        return [SamPrompt(points, labels, None)]
    foreground = labels == FOREGROUND
    inside = (points[None] >= boxes[:, None, :2]) & (points[None] <= boxes[:, None, 2:])
    inside = inside.all(axis=2) & foreground  # [B, P]
    prompts = []
    for box, own in zip(boxes, inside, strict=True):
        chosen = own | ~foreground
        prompts.append(SamPrompt(points[chosen], labels[chosen], box))
    outside = foreground & ~inside.any(axis=0)
    if outside.any():
        chosen = outside | ~foreground
        prompts.append(SamPrompt(points[chosen], labels[chosen], None))
    return prompts


def largest_of_the_best(masks: NDArray[np.bool_], iou: NDArray[np.float32]) -> int:
    """Return which of M masks [M, H, W] with predicted IoU [M] answers an ambiguous prompt."""
    iou = np.nan_to_num(iou, nan=-np.inf)
    areas = masks.sum(axis=(1, 2))
    return int(np.where(iou >= iou.max() - _MAX_QUALITY_LOSS, areas, -1).argmax())


class SamPrompts:
    """A model of the SAM family; its encoder runs once for every frame that is prompted."""

    runs_beside = True

    def __init__(self, engine: SamEngine) -> None:
        self.name = engine.info.model
        self.info = str(engine.info)
        self._engine = engine

    @torch.inference_mode()
    def answer(self, frame: KeptFrame, prompt: ObjectPrompt) -> Answer:
        """Return the union of one mask per click group and box."""
        features, geometry = self._features(frame)
        union = np.zeros(frame.geometry.image_size, np.bool_)
        scores = []
        for part in sam_prompts(prompt):
            points = labels = box = None
            if len(part.points):
                points = transforms.points_to_frame(part.points[None], geometry)
                labels = torch.from_numpy(part.labels.astype(np.int64))[None]
            if part.box is not None:
                box = transforms.boxes_to_frame(part.box[None], geometry)
            logits, iou = self._decode(features, points, labels, box, multimask=part.is_ambiguous)
            masks = transforms.masks_to_picture(logits, geometry)[0]
            best = largest_of_the_best(masks, iou[0].float().cpu().numpy())
            scores.append(float(iou[0, best]))
            union |= masks[best]
        certain = np.clip(np.nan_to_num(scores), 0.0, 1.0)
        score = float(certain.mean()) if union.any() else 0.0
        return Answer(union, score)

    def look(self, frame: KeptFrame, anchor: Anchor, elapsed: float) -> Answer:
        """The box and the points in it, together, are the prompt."""
        return self.answer(frame, anchor_prompt(anchor))

    @torch.inference_mode()
    def in_boxes(self, frame: KeptFrame, boxes: NDArray[np.float32]) -> list[FoundMask]:
        """Return a mask for each box, (K, 4) edges in image pixels."""
        features, geometry = self._features(frame)
        decode = functools.partial(self._decode, features)
        found = segment_with_boxes(decode, geometry, boxes)
        order = np.argsort(found.prompt, kind="stable")
        return [_found(found, k) for k in order.tolist()]

    @torch.inference_mode()
    def on_grid(self, frame: KeptFrame, points_per_side: int) -> GridSteps:
        """Return masks from a square grid of points, filtered as SAM does."""
        features, geometry = self._features(frame)
        decode = functools.partial(self._decode, features)
        steps, over = grid_steps(decode, geometry, points_per_side), None
        try:
            while True:
                asked, fresh = steps.send(over)
                over = yield GridStep(asked, _all_found(fresh))
        except StopIteration as end:
            return _all_found(end.value)

    def close(self) -> None:
        """Give back what the engine holds."""
        self._engine.close()

    def _features(self, frame: KeptFrame) -> tuple[SamFeatures, transforms.SamFrame]:
        """Return what is kept of a frame, made now if nobody has prompted it yet."""
        if frame.embedding is None:
            picture, geometry = transforms.preprocess(np.ascontiguousarray(frame.rgb))
            features = self._engine.encode(picture)
            frame.embedding = features, geometry
            frame.embedding_bytes = features.nbytes
        kept: tuple[SamFeatures, transforms.SamFrame] = frame.embedding
        return kept

    def _decode(
        self,
        features: SamFeatures,
        points: Tensor | None,
        labels: Tensor | None,
        boxes: Tensor | None = None,
        *,
        multimask: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """`SamEngine.decode`, with three masks where the model has them."""
        several = multimask and self._engine.supports_multimask
        return self._engine.decode(features, points, labels, boxes, multimask=several)


def _all_found(everything: EverythingMasks) -> list[FoundMask]:
    return [_found(everything, k) for k in range(len(everything.masks))]


def _found(everything: EverythingMasks, k: int) -> FoundMask:
    score = float(np.clip(everything.predicted_iou[k], 0.0, 1.0))
    return FoundMask(encode_mask(everything.masks[k]), score)


def load(
    config: PromptingConfig,
    network: EngineConfig,
    progress: Progress,
    cancelled: threading.Event | None,
) -> PromptEngine:
    """Load a model of the SAM family with the weights that are named, or those that are here."""
    path = _weights(config)
    return SamPrompts(load_sam_engine(config.engine, path, network, progress, cancelled))


for _name in PROMPT_MODELS:
    register(_name)(load)


def _weights(config: PromptingConfig) -> Path:
    if config.weights:
        path = Path(config.weights).expanduser()
        if not path.is_file():
            raise PromptEngineError(f"weights '{path}' of the prompt engine are not a file")
        return path
    found = find_weights(config.engine)
    if found is None:
        raise PromptEngineError(
            f"prompt engine '{config.engine}' needs a file with its weights; in the package are "
            "those of mobile_sam only, and rmpsam weights list tells what can be fetched"
        )
    return found
