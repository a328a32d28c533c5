"""The interface through which everything else executes the network, whatever executes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.panoptic import FusionConfig
from rmpsam_ros.segmentation.preprocess import Letterbox
from rmpsam_ros.segmentation.results import PanopticResult

ChannelOrder: TypeAlias = Literal["rgb", "bgr"]


class EngineError(RuntimeError):
    """An engine cannot be made or cannot run; the message is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What really runs, for logs, diagnostics and benchmarks.

    Attributes:
        engine: back end with its version, for example ``torch 2.13.0``.
        precision: number format of the network, for example ``fp32``.
        device: where it runs, for example ``cpu (2 threads)`` or the name of the GPU.
        model: name of the network configuration.
        weights: where the weights come from; says so when they are random.
        agreement: how well its results agree with fp32 PyTorch; empty for that itself.
        padded_boxes: prompt boxes are relative to the padded image; else to the image in it.
        licence: of the weights, for people; empty: there are none.
    """

    engine: str
    precision: str
    device: str
    model: str
    weights: str
    agreement: str = ""
    padded_boxes: bool = False
    licence: str = ""

    def __str__(self) -> str:
        return f"{self.model} ({self.weights}) on {self.engine}, {self.precision}, {self.device}"


class ObjectOutput:
    """Object queries of one image.

    Attributes:
        class_logits: (N, C + 1) float32, the last column is "no object".
        queries: (N, 256) float32, the embeddings that tracking matches.
        device_masks: the mask logits, (N, h, w) float32, where they are on a GPU; else None.
    """

    __slots__ = ("_mask_logits", "class_logits", "device_masks", "queries")

    def __init__(
        self,
        class_logits: NDArray[np.float32],
        mask_logits: NDArray[np.float32] | torch.Tensor,
        queries: NDArray[np.float32],
    ) -> None:
        """mask_logits: (N, h, w) float32 at a quarter of the padded network input."""
        self.class_logits = class_logits
        self.queries = queries
        self.device_masks = mask_logits if isinstance(mask_logits, torch.Tensor) else None
        self._mask_logits = None if isinstance(mask_logits, torch.Tensor) else mask_logits

    @property
    def mask_logits(self) -> NDArray[np.float32]:
        """(N, h, w) float32; downloaded from a GPU when it is first asked for."""
        if self._mask_logits is None:
            assert self.device_masks is not None
            self._mask_logits = np.asarray(self.device_masks.cpu().numpy(), np.float32)
        return self._mask_logits


@dataclass(frozen=True, slots=True)
class PromptOutput:
    """Prompt queries of one image.

    Attributes:
        mask_logits: (K, h, w) float32 at a quarter of the padded network input.
        iou: (K,) float32, predicted quality of each mask, not clipped.
    """

    mask_logits: NDArray[np.float32]
    iou: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FrameOutput:
    """Everything one pass gives; ``features`` is an engine's own handle for later prompts."""

    features: Any
    objects: ObjectOutput
    prompts: PromptOutput | None


class Engine(Protocol):
    """Runs the network on preprocessed images, from one thread."""

    info: EngineInfo

    def prepare(
        self, image: NDArray[np.uint8], limits: tuple[int, int], channel_order: ChannelOrder
    ) -> tuple[Any, Letterbox]:
        """Do what `segmentation.preprocess` does, with the same results, where it is fastest.

        Args:
            image: (H, W, 3) uint8 in ``channel_order``.
            limits: (long, short) side in pixels.
            channel_order: of the image.

        Returns:
            What `run` takes for an image, and how the image was fitted.
        """
        ...

    def run(self, image: Any, boxes: NDArray[np.float32] | None = None) -> FrameOutput:
        """Encode an image and decode its objects, and its prompts in the same pass.

        Args:
            image: from `prepare`, or (1, 3, H, W) float32, normalised, H and W multiples of 32.
            boxes: (K, 4) float32 prompt boxes, x_min, y_min, x_max, y_max in [0, 1] relative to
                the image before padding (`EngineInfo.padded_boxes`: after it); None or K = 0: no
                prompts.

        Raises:
            EngineError: the input has another shape or type, or execution failed.
        """
        ...

    def run_batch(
        self, images: Sequence[Any], boxes: Sequence[NDArray[np.float32] | None]
    ) -> list[FrameOutput | EngineError]:
        """Do what `run` does on images of several cameras, together where that is faster.

        Args:
            images: as for `run`, each of a size of its own.
            boxes: as for `run`, one item per image.

        Returns:
            one item per image: its output, or the error that `run` would raise for it; the
            other images are not affected.

        Raises:
            ValueError: there are not as many items in ``boxes`` as in ``images``.
        """
        ...

    def largest_group(self, image: Any) -> int:
        """Return how many images of this size are faster together than one after the other."""
        ...

    def fuse(
        self,
        objects: ObjectOutput,
        geometry: Letterbox,
        label_set: LabelSet,
        config: FusionConfig,
    ) -> PanopticResult:
        """Do what `segmentation.fuse_panoptic` does, with the same results, where it is fastest.

        Args:
            objects: of this engine.
        """
        ...

    def decode_prompts(self, features: Any, boxes: NDArray[np.float32]) -> PromptOutput:
        """Decode prompts, (K, 4) as in `run`, on the features of an earlier `run`."""
        ...

    def decode_tube(self, features: Sequence[Any]) -> tuple[ObjectOutput, ...]:
        """Decode the objects of a tube: every query has one class and a mask in every frame.

        Source: paper equation 2, docs/reference/rmpsam.md, section 8.

        Args:
            features: of earlier passes on images of one size, one of each frame, oldest first.

        Returns:
            The objects of every frame, oldest first; classes and queries are those of the tube.

        Raises:
            EngineError: the sizes differ, the engine was made for single frames only
                (`EngineConfig.clip_frames`), or execution failed.
        """
        ...

    def close(self) -> None:
        """Give back device memory; the engine is not used afterwards."""
        ...
