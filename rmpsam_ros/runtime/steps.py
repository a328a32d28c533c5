"""What surrounds the network, from pixels to its input and from its output to label maps."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rmpsam_ros.runtime.engine import ChannelOrder, EngineError, ObjectOutput
from rmpsam_ros.runtime.gpu_steps import fuse_on_device, preprocess_on_device
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.panoptic import FusionConfig, fuse_panoptic
from rmpsam_ros.segmentation.preprocess import Letterbox, preprocess
from rmpsam_ros.segmentation.results import PanopticResult


class Steps(ABC):
    """Pre- and post-processing where an executor has its tensors."""

    @abstractmethod
    def prepare(
        self, image: NDArray[np.uint8], limits: tuple[int, int], channel_order: ChannelOrder
    ) -> tuple[Any, Letterbox]:
        """See `Engine.prepare`."""

    @abstractmethod
    def fuse(
        self,
        objects: ObjectOutput,
        geometry: Letterbox,
        label_set: LabelSet,
        config: FusionConfig,
    ) -> PanopticResult:
        """See `Engine.fuse`."""


class HostSteps(Steps):
    """On the CPU."""

    def prepare(
        self, image: NDArray[np.uint8], limits: tuple[int, int], channel_order: ChannelOrder
    ) -> tuple[Any, Letterbox]:
        return preprocess(image, limits, channel_order)

    def fuse(
        self,
        objects: ObjectOutput,
        geometry: Letterbox,
        label_set: LabelSet,
        config: FusionConfig,
    ) -> PanopticResult:
        return fuse_panoptic(
            objects.class_logits, objects.mask_logits, geometry, label_set, config
        )


class DeviceSteps(Steps):
    """On a GPU: only pixels in bytes and label maps cross the bus."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def prepare(
        self, image: NDArray[np.uint8], limits: tuple[int, int], channel_order: ChannelOrder
    ) -> tuple[Any, Letterbox]:
        return preprocess_on_device(image, limits, channel_order, self._device)

    def fuse(
        self,
        objects: ObjectOutput,
        geometry: Letterbox,
        label_set: LabelSet,
        config: FusionConfig,
    ) -> PanopticResult:
        masks = objects.device_masks
        if masks is None:
            raise EngineError("these objects are not from this engine: their masks are elsewhere")
        classes = torch.from_numpy(objects.class_logits).to(masks.device)
        return fuse_on_device(classes, masks, geometry, label_set, config)
