"""Networks alone as what is evaluated, in PyTorch: their masks as they come.

What the product adds is missing here: the box margin and connected parts of prompted masks, the
choice among SAM's three masks, the life cycle of followed objects. So these are the figures that
papers give, and those that a change of the product leaves alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rmpsam_ros.evaluation.interactive import tight_box
from rmpsam_ros.evaluation.predictors import Promptable
from rmpsam_ros.model import RmpSam
from rmpsam_ros.model.prompt_encoder import POINT_HALF_SIZE
from rmpsam_ros.model.sam import ImageEmbedding, PromptModel
from rmpsam_ros.model.sam import transforms as sam_transforms
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.panoptic import FusionConfig, fuse_panoptic
from rmpsam_ros.segmentation.preprocess import Letterbox, preprocess
from rmpsam_ros.segmentation.results import PanopticResult

_MASKS_AT_ONCE = 25


class Objects(NamedTuple):
    """Raw answer of the object queries: class logits [N, C + 1], mask logits [N, h, w]."""

    class_logits: NDArray[np.float32]
    mask_logits: NDArray[np.float32]
    geometry: Letterbox


class RawNetwork:
    """A trained RMP-SAM; implements ``Segmenter``."""

    def __init__(
        self,
        network: RmpSam,
        label_set: LabelSet,
        limits: tuple[int, int],
        device: torch.device,
        fusion: FusionConfig,
    ) -> None:
        """limits: (long, short) side that images are resized to."""
        self.label_set = label_set
        self._limits, self._device, self._fusion = limits, device, fusion
        self._network = network.to(device).eval()
        self._features = torch.empty(0)
        self._geometry = Letterbox((1, 1), (1, 1), (32, 32))
        self._objects: Objects | None = None

    @torch.inference_mode()
    def show(self, image: NDArray[np.uint8]) -> None:
        """Look at an image, RGB uint8 [H, W, 3]."""
        planes, self._geometry = preprocess(image, self._limits)
        self._features = self._network.features(torch.from_numpy(planes).to(self._device))
        self._objects = None

    @torch.inference_mode()
    def objects(self) -> Objects:
        """Return what the object queries say about the image."""
        if self._objects is None:
            output = self._network.decode_objects(self._features)
            self._objects = Objects(
                output.class_logits[0].float().cpu().numpy(),
                output.mask_logits[0].float().cpu().numpy(),
                self._geometry,
            )
        return self._objects

    def panoptic(self) -> PanopticResult:
        """Return the panoptic segmentation of the image."""
        return fuse_panoptic(*self.objects(), self.label_set, self._fusion)

    @torch.inference_mode()
    def semantic(self, annotated: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the class map [H, W]: every pixel has the annotated class with the most support.

        Support: sum over queries of class probability times mask probability.
        """
        objects = self.objects()
        classes = torch.from_numpy(objects.class_logits).softmax(dim=-1)[:, :-1]
        masks = torch.from_numpy(objects.mask_logits).sigmoid()
        support = torch.einsum("qc,qhw->chw", classes, masks)
        support[~torch.from_numpy(annotated)] = -1.0
        return to_image(support, objects.geometry).argmax(dim=0).numpy()

    @torch.inference_mode()
    def object_masks(self) -> NDArray[np.bool_]:
        """Return the masks [N, H, W] of all object queries, whatever their class."""
        objects = self.objects()
        return binary_masks(torch.from_numpy(objects.mask_logits), objects.geometry)

    def click(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return one mask [K, H, W] for each of K points (x, y): the pixel with that index."""
        centers = self._resized(np.asarray(points, np.float64) + 0.5)
        return self._prompt(
            np.concatenate((centers - POINT_HALF_SIZE, centers + POINT_HALF_SIZE), axis=1)
        )

    def box(self, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return one mask [K, H, W] for each of K boxes (x1, y1, x2, y2), end exclusive."""
        corners = np.asarray(boxes, np.float64).reshape(-1, 2)
        return self._prompt(self._resized(corners).reshape(-1, 4))

    def follow(
        self, frames: Iterable[NDArray[np.uint8]], point: tuple[int, int]
    ) -> Iterator[NDArray[np.bool_]]:
        """Yield the mask [H, W] of an object in every frame; see `follow_by_boxes`."""
        return follow_by_boxes(self, frames, point)

    def _resized(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        height, width = self._geometry.resized_size
        own_height, own_width = self._geometry.image_size
        return points * (width / own_width, height / own_height)

    @torch.inference_mode()
    def _prompt(self, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """boxes: [K, 4] in pixels of the resized image."""
        geometry = self._geometry
        anchored = self._network.anchored
        height, width = geometry.padded_size if anchored else geometry.resized_size
        relative = torch.from_numpy(boxes / (width, height, width, height)).float()
        output = self._network.decode_prompts(self._features, relative[None].to(self._device))
        return binary_masks(output.mask_logits[0].float().cpu(), self._geometry)


class RawPromptModel:
    """A model of the SAM family; implements ``Promptable``."""

    def __init__(self, model: PromptModel, device: torch.device) -> None:
        self._model, self._device = model.to(device).eval(), device
        self._embedding: ImageEmbedding | None = None
        self._geometry = sam_transforms.SamFrame((1, 1), (1024, 1024))

    @torch.inference_mode()
    def show(self, image: NDArray[np.uint8]) -> None:
        """Look at an image, RGB uint8 [H, W, 3]."""
        frame, self._geometry = sam_transforms.preprocess(image)
        self._embedding = self._model.encode(frame.to(self._device))

    def click(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return one mask [K, H, W] for each of K points (x, y)."""
        frame = sam_transforms.points_to_frame(np.asarray(points)[:, None], self._geometry)
        return self._decode(frame, torch.ones(len(points), 1, dtype=torch.int64), None)

    def box(self, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return one mask [K, H, W] for each of K boxes (x1, y1, x2, y2)."""
        return self._decode(None, None, sam_transforms.boxes_to_frame(boxes, self._geometry))

    def follow(
        self, frames: Iterable[NDArray[np.uint8]], point: tuple[int, int]
    ) -> Iterator[NDArray[np.bool_]]:
        """Yield the mask [H, W] of an object in every frame; see `follow_by_boxes`."""
        return follow_by_boxes(self, frames, point)

    @torch.inference_mode()
    def _decode(
        self, points: Tensor | None, labels: Tensor | None, boxes: Tensor | None
    ) -> NDArray[np.bool_]:
        assert self._embedding is not None
        points, labels, boxes = (
            None if t is None else t.to(self._device) for t in (points, labels, boxes)
        )
        logits, _ = self._model.decode(self._embedding, points, labels, boxes)
        return sam_transforms.masks_to_picture(logits.cpu(), self._geometry)[:, 0]


def follow_by_boxes(
    model: Promptable, frames: Iterable[NDArray[np.uint8]], point: tuple[int, int]
) -> Iterator[NDArray[np.bool_]]:
    """Yield the mask [H, W] of an object in every frame, without any memory.

    It is clicked in the first frame; from then on the prompt of every frame is the box of the mask
    before. Once lost, an object stays lost.
    """
    mask: NDArray[np.bool_] | None = None
    for image in frames:
        if mask is None:
            model.show(image)
            mask = model.click(np.array([point], np.float64))[0]
        elif mask.any():
            model.show(image)
            mask = model.box(np.array([tight_box(mask)], np.float64))[0]
        yield mask


def to_image(maps: Tensor, geometry: Letterbox) -> Tensor:
    """Resize maps [N, h, w] of the padded input to the image, [N, H, W], bilinearly."""
    height, width = geometry.resized_size
    maps = F.interpolate(maps[None], geometry.padded_size, mode="bilinear", align_corners=False)
    maps = maps[..., :height, :width]
    return F.interpolate(maps, geometry.image_size, mode="bilinear", align_corners=False)[0]


def binary_masks(logits: Tensor, geometry: Letterbox) -> NDArray[np.bool_]:
    """Return masks [N, H, W] where the logits, brought to the size of the image, exceed 0."""
    parts = [(to_image(part, geometry) > 0).numpy() for part in logits.split(_MASKS_AT_ONCE)]
    return np.concatenate(parts)
