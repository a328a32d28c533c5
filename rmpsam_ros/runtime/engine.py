"""The interface through which everything else executes the network, whatever executes it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.panoptic import FusionConfig, PanopticResult, fuse_panoptic
from rmpsam_ros.segmentation.preprocess import Geometry, preprocess

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
    """

    engine: str
    precision: str
    device: str
    model: str
    weights: str
    agreement: str = ""
    padded_boxes: bool = False

    def __str__(self) -> str:
        return f"{self.model} ({self.weights}) on {self.engine}, {self.precision}, {self.device}"


@dataclass(frozen=True, slots=True)
class ObjectOutput:
    """Object queries of one image.

    Attributes:
        class_logits: (N, C + 1) float32, the last column is "no object".
        mask_logits: (N, h, w) float32 at a quarter of the padded network input.
        queries: (N, 256) float32, the embeddings that tracking matches.
    """

    class_logits: NDArray[np.float32]
    mask_logits: NDArray[np.float32]
    queries: NDArray[np.float32]


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
    ) -> tuple[Any, Geometry]:
        """Do what `segmentation.preprocess` does, with the same results, where it is fastest.

        Returns:
            what `run` takes for an image, and how the image was fitted.
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
        geometry: Geometry,
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


class Batches(ABC):
    """`Engine.run_batch` by groups of images of one size, which an engine may run together."""

    @abstractmethod
    def run(self, image: Any, boxes: NDArray[np.float32] | None = None) -> FrameOutput: ...

    def run_batch(
        self, images: Sequence[Any], boxes: Sequence[NDArray[np.float32] | None]
    ) -> list[FrameOutput | EngineError]:
        if len(images) != len(boxes):
            raise ValueError(f"{len(images)} images came with {len(boxes)} items of boxes")
        results: dict[int, FrameOutput | EngineError] = {}
        for group in self._groups(images):
            outputs = self._group_results(
                [images[index] for index in group], [boxes[index] for index in group]
            )
            results.update(zip(group, outputs, strict=True))
        return [results[index] for index in range(len(images))]

    def largest_group(self, image: Any) -> int:
        return 1

    def run_group(
        self, images: Sequence[Any], boxes: Sequence[NDArray[np.float32] | None]
    ) -> list[FrameOutput]:
        """Run two images or more of one size together.

        Raises:
            EngineError: any of them fails.
        """
        raise NotImplementedError

    def _groups(self, images: Sequence[Any]) -> Iterator[list[int]]:
        """Cut the places of the images into groups of one size, none too large."""
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(images):
            by_shape.setdefault(tuple(image.shape), []).append(index)
        for places in by_shape.values():
            step = self.largest_group(images[places[0]])
            for start in range(0, len(places), step):
                yield places[start : start + step]

    def _group_results(
        self, images: Sequence[Any], boxes: Sequence[NDArray[np.float32] | None]
    ) -> list[FrameOutput | EngineError]:
        if len(images) > 1:
            try:
                return [*self.run_group(images, boxes)]
            except EngineError:
                pass  # one by one it turns out whose fault it was
        results: list[FrameOutput | EngineError] = []
        for image, own_boxes in zip(images, boxes, strict=True):
            try:
                results.append(self.run(image, own_boxes))
            except EngineError as error:
                results.append(error)
        return results


class HostSteps(Batches):
    """Pre- and post-processing on the CPU, for engines whose data is there anyway."""

    def prepare(
        self, image: NDArray[np.uint8], limits: tuple[int, int], channel_order: ChannelOrder
    ) -> tuple[Any, Geometry]:
        return preprocess(image, limits, channel_order)

    def fuse(
        self,
        objects: ObjectOutput,
        geometry: Geometry,
        label_set: LabelSet,
        config: FusionConfig,
    ) -> PanopticResult:
        return fuse_panoptic(
            objects.class_logits, objects.mask_logits, geometry, label_set, config
        )


def check_image(image: NDArray[np.float32]) -> None:
    """Raise EngineError unless ``image`` is what `Engine.run` asks for."""
    good = image.ndim == 4 and image.shape[:2] == (1, 3) and min(image.shape[2:]) > 0
    if not good or image.dtype != np.float32 or image.shape[2] % 32 or image.shape[3] % 32:
        raise EngineError(
            f"network input is {image.dtype} {image.shape}; expected float32 (1, 3, H, W) with H "
            "and W multiples of 32: use segmentation.preprocess"
        )
    if not np.isfinite(image).all():
        raise EngineError("network input holds values that are not finite (NaN or infinity)")


def check_boxes(boxes: NDArray[np.float32]) -> None:
    """Raise EngineError unless ``boxes`` is what `Engine.run` asks for."""
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype != np.float32:
        raise EngineError(f"prompt boxes are {boxes.dtype} {boxes.shape}; expected float32 (K, 4)")


def no_tubes() -> EngineError:
    """Return the error of an engine that was made for single frames and is given a tube."""
    return EngineError("this engine was made for single frames: set clip_frames to the tube's")


def check_tube(shapes: Sequence[tuple[int, ...]]) -> None:
    """Raise EngineError unless these shapes of features make a tube, as `decode_tube` asks."""
    if not shapes or len(set(shapes)) > 1:
        raise EngineError(
            f"features of a tube have shapes {list(shapes)}; expected one or more, all the same: "
            "give frames of one size"
        )


def tube_objects(
    class_logits: NDArray[np.float32],
    mask_logits: NDArray[np.float32],
    queries: NDArray[np.float32],
) -> tuple[ObjectOutput, ...]:
    """Return the objects of every frame of a tube.

    Args:
        class_logits, queries: (N, C + 1) and (N, 256).
        mask_logits: (N, T, h, w).

    Raises:
        EngineError: the class logits are not finite.
    """
    check_finite(class_logits)
    return tuple(
        ObjectOutput(class_logits, mask_logits[:, k], queries) for k in range(mask_logits.shape[1])
    )


def check_finite(values: NDArray[np.float32]) -> None:
    """Raise EngineError if class logits or predicted qualities are not finite."""
    if not np.isfinite(values).all():
        raise EngineError(
            "the network gave values that are not finite: its weights hold NaN or infinity, or "
            "its precision has too small a range"
        )
