"""What engines check of their inputs and results."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.runtime.engine import EngineError


def check_image(image: NDArray[np.float32]) -> None:
    """Raise EngineError unless an image is (1, 3, H, W) float32, as `Engine.run` asks for."""
    good = image.ndim == 4 and image.shape[:2] == (1, 3) and min(image.shape[2:]) > 0
    if not good or image.dtype != np.float32 or image.shape[2] % 32 or image.shape[3] % 32:
        raise EngineError(
            f"network input is {image.dtype} {image.shape}; expected float32 (1, 3, H, W) with H "
            "and W multiples of 32: use segmentation.preprocess"
        )
    if not np.isfinite(image).all():
        raise EngineError("network input holds values that are not finite (NaN or infinity)")


def check_boxes(boxes: NDArray[np.float32]) -> None:
    """Raise EngineError unless boxes are (K, 4) float32, as `Engine.run` asks for."""
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


def check_finite(values: NDArray[np.float32]) -> None:
    """Raise EngineError if an array of any shape, logits or qualities, is not finite."""
    if not np.isfinite(values).all():
        raise EngineError(
            "the network gave values that are not finite: its weights hold NaN or infinity, or "
            "its precision has too small a range"
        )
