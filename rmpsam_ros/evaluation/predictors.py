"""The evaluated: a trained network, and a promptable model to compare it with."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rmpsam_ros.model import RmpSam
from rmpsam_ros.model.prompt_encoder import POINT_HALF_SIZE
from rmpsam_ros.model.sam import ImageEmbedding, PromptModel
from rmpsam_ros.model.sam import transforms as sam_transforms
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.panoptic import FusionConfig, PanopticResult, fuse_panoptic
from rmpsam_ros.segmentation.preprocess import Geometry, preprocess

_MASKS_AT_ONCE = 25


class Prompter(Protocol):
    """A model that answers clicks and boxes on one picture."""

    def show(self, image: NDArray[np.uint8]) -> None:
        """Look at a picture, RGB uint8 [H, W, 3]; the questions that follow are about it."""
        ...

    def click(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return one mask [K, H, W] for each of K points (x, y)."""
        ...

    def box(self, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return one mask [K, H, W] for each of K boxes (x1, y1, x2, y2), end exclusive."""
        ...


class Objects(NamedTuple):
    """Raw answer of the object queries: class logits [N, C + 1], mask logits [N, h, w]."""

    class_logits: NDArray[np.float32]
    mask_logits: NDArray[np.float32]
    geometry: Geometry


class NetworkPredictor:
    """A trained RMP-SAM; implements ``Prompter``."""

    def __init__(
        self, network: RmpSam, label_set: LabelSet, limits: tuple[int, int], device: torch.device
    ) -> None:
        """``limits``: (long, short) side that pictures are resized to."""
        self.label_set, self._limits, self._device = label_set, limits, device
        self._network = network.to(device).eval()
        self._features = torch.empty(0)
        self._geometry = Geometry((1, 1), (1, 1), (32, 32))

    @torch.inference_mode()
    def show(self, image: NDArray[np.uint8]) -> None:
        """Look at a picture, RGB uint8 [H, W, 3]."""
        planes, self._geometry = preprocess(image, self._limits)
        self._features = self._network.features(torch.from_numpy(planes).to(self._device))

    @torch.inference_mode()
    def objects(self) -> Objects:
        """Return what the object queries say about the picture."""
        output = self._network.decode_objects(self._features)
        return Objects(
            output.class_logits[0].float().cpu().numpy(),
            output.mask_logits[0].float().cpu().numpy(),
            self._geometry,
        )

    def panoptic(self, objects: Objects, config: FusionConfig) -> PanopticResult:
        """Return the panoptic segmentation of the picture."""
        return fuse_panoptic(*objects, self.label_set, config)

    @torch.inference_mode()
    def semantic(self, objects: Objects, among: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the class map [H, W]: every pixel has the class with the most support.

        Support: sum over queries of class probability times mask probability.

        Args:
            among: bool [C], the classes that compete: those that the data set knows.
        """
        classes = torch.from_numpy(objects.class_logits).softmax(dim=-1)[:, :-1]
        masks = torch.from_numpy(objects.mask_logits).sigmoid()
        support = torch.einsum("qc,qhw->chw", classes, masks)
        support[~torch.from_numpy(among)] = -1.0
        return to_image(support, objects.geometry).argmax(dim=0).numpy()

    @torch.inference_mode()
    def object_masks(self, objects: Objects) -> NDArray[np.bool_]:
        """Return the masks [N, H, W] of all object queries, whatever their class."""
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

    def _resized(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        height, width = self._geometry.resized_size
        own_height, own_width = self._geometry.image_size
        return points * (width / own_width, height / own_height)

    @torch.inference_mode()
    def _prompt(self, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """boxes: [K, 4] in pixels of the resized picture."""
        geometry = self._geometry
        anchored = self._network.anchored
        height, width = geometry.padded_size if anchored else geometry.resized_size
        relative = torch.from_numpy(boxes / (width, height, width, height)).float()
        output = self._network.decode_prompts(self._features, relative[None].to(self._device))
        return binary_masks(output.mask_logits[0].float().cpu(), self._geometry)


class PromptModelPredictor:
    """A model of the SAM family; implements ``Prompter``."""

    def __init__(self, model: PromptModel, device: torch.device) -> None:
        self._model, self._device = model.to(device).eval(), device
        self._embedding: ImageEmbedding | None = None
        self._geometry = sam_transforms.FrameGeometry((1, 1), (1024, 1024))

    @torch.inference_mode()
    def show(self, image: NDArray[np.uint8]) -> None:
        """Look at a picture, RGB uint8 [H, W, 3]."""
        frame, self._geometry = sam_transforms.preprocess(image)
        self._embedding = self._model.encode(frame.to(self._device))

    def click(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return one mask [K, H, W] for each of K points (x, y)."""
        frame = sam_transforms.points_to_frame(np.asarray(points)[:, None], self._geometry)
        return self._decode(frame, torch.ones(len(points), 1, dtype=torch.int64), None)

    def box(self, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return one mask [K, H, W] for each of K boxes (x1, y1, x2, y2)."""
        return self._decode(None, None, sam_transforms.boxes_to_frame(boxes, self._geometry))

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


def to_image(maps: Tensor, geometry: Geometry) -> Tensor:
    """Resize maps [N, h, w] of the padded input to the picture, [N, H, W], bilinearly."""
    height, width = geometry.resized_size
    maps = F.interpolate(maps[None], geometry.padded_size, mode="bilinear", align_corners=False)
    maps = maps[..., :height, :width]
    return F.interpolate(maps, geometry.image_size, mode="bilinear", align_corners=False)[0]


def binary_masks(logits: Tensor, geometry: Geometry) -> NDArray[np.bool_]:
    """Return masks [N, H, W] where the logits, brought to the size of the picture, exceed 0."""
    parts = [(to_image(part, geometry) > 0).numpy() for part in logits.split(_MASKS_AT_ONCE)]
    return np.concatenate(parts)
